"""LLaVA-NeXT: pictures as tiles of full resolution, with learned ends of lines.

Liu et al. 2024, https://llava-vl.github.io/blog/2024-01-30-llava-next.
"""

from collections.abc import Mapping
from typing import Any

from align_jax import registry
from align_jax.models.families import llava
from align_jax.models.families.base import Family


@registry.entry()
def llava_next(*, hf: Mapping[str, Any]) -> Family:
    """The same weights as LLaVA, and the end of a line."""
    return llava.family(hf, newline=True, placeholders=(hf["image_token_index"],))
