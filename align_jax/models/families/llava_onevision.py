"""LLaVA-OneVision: SigLIP and Qwen2; a picture, several, or a video. Li et al. 2024, https://arxiv.org/abs/2408.03326."""

from collections.abc import Mapping
from typing import Any

from align_jax import registry
from align_jax.models.families import llava
from align_jax.models.families.base import Family


@registry.entry()
def llava_onevision(*, hf: Mapping[str, Any]) -> Family:
    """The same parts as LLaVA-NeXT."""
    return llava.family(hf, newline=True, placeholders=(hf["image_token_index"], hf["video_token_index"]))
