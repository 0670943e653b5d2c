"""SmolVLM: Idefics3 made small enough for everyone. Marafioti et al. 2025, https://arxiv.org/abs/2504.05299."""

from collections.abc import Mapping
from typing import Any

from align_jax import registry
from align_jax.models.families import idefics3
from align_jax.models.families.base import Family


@registry.entry()
def smolvlm(*, hf: Mapping[str, Any]) -> Family:
    """The same parts as Idefics3."""
    return idefics3.family(hf)
