"""Qwen2 and Qwen2.5. https://arxiv.org/abs/2407.10671."""

from collections.abc import Mapping
from typing import Any

from align_jax import registry
from align_jax.models.families import text
from align_jax.models.families.base import Family
from align_jax.models.mllm import MLLMConfig


@registry.entry()
def qwen2(*, hf: Mapping[str, Any]) -> Family:
    """A text model."""
    decoder = text.qwen2(hf)
    return Family(MLLMConfig(decoder), text.weights(decoder, "model.", "lm_head"))
