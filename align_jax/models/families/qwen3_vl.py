"""Qwen3-VL: features of several depths for the decoder's first layers. https://arxiv.org/abs/2511.21631."""

from collections.abc import Mapping
from typing import Any

from align_jax import registry
from align_jax.models import patch_vit
from align_jax.models.families import qwen_vision, text
from align_jax.models.families.base import Family
from align_jax.models.mllm import MLLMConfig


@registry.entry()
def qwen3_vl(*, hf: Mapping[str, Any]) -> Family:
    """A tower over packed patches with DeepStack, and Qwen3."""
    decoder = text.qwen3(hf["text_config"], tie_embeddings=text.tied(hf))
    tower = qwen_vision.qwen3_vl(hf["vision_config"])
    placeholders = hf["image_token_id"], hf["video_token_id"]
    weights = text.weights(decoder, "model.language_model.", "lm_head") + patch_vit.weights(tower, "model.visual.")
    return Family(MLLMConfig(decoder, tower, placeholders=placeholders), tuple(weights))
