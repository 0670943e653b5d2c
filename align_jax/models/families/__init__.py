"""Published architectures, one file each, found by the `model_type` of a checkpoint's config.json.

A family is an entry `<model_type>(*, hf)` of `<model_type>.py`: from the checkpoint's config, with the defaults that
transformers fills in, to the sizes of our model and the names of its weights.
"""

from collections.abc import Mapping
from typing import Any

from align_jax import registry
from align_jax.models.families.base import Family

PACKAGE = "align_jax.models.families"


def names() -> list[str]:
    """Every `model_type` that can be opened."""
    return registry.names(PACKAGE)


def build(hf: Mapping[str, Any]) -> Family:
    """The family of a checkpoint.

    Args:
      hf: its config.json with all defaults filled in; nested for the parts.

    Raises:
      ValueError: a `model_type` without a family (lists those that have one), or a setting that we cannot run.
    """
    model_type = hf.get("model_type")
    if model_type not in names():
        raise ValueError(f"no family opens a checkpoint of model_type {model_type!r}; there are: {', '.join(names())}")
    return registry.build(PACKAGE, model_type, hf=hf)()
