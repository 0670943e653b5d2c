"""Mistral. Jiang et al. 2023, https://arxiv.org/abs/2310.06825."""

from collections.abc import Mapping
from typing import Any

from align_jax import registry
from align_jax.models.families import text
from align_jax.models.families.base import Family
from align_jax.models.mllm import MLLMConfig


@registry.entry()
def mistral(*, hf: Mapping[str, Any]) -> Family:
    """A text model."""
    decoder = text.decoder(hf)
    return Family(MLLMConfig(decoder), text.weights(decoder, "model.", "lm_head"))
