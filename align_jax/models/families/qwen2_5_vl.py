"""Qwen2.5-VL: a tower that mostly looks through windows. https://arxiv.org/abs/2502.13923."""

from collections.abc import Mapping
from typing import Any

from align_jax import registry
from align_jax.models import patch_vit
from align_jax.models.families import qwen_vision, text
from align_jax.models.families.base import Family
from align_jax.models.mllm import MLLMConfig

# In memory; on disk, names are those of the first release.
MODULES = (("model.", "model.language_model."), ("visual.", "model.visual."))


@registry.entry()
def qwen2_5_vl(*, hf: Mapping[str, Any]) -> Family:
    """A windowed tower over packed patches, and Qwen2.5."""
    decoder = text.qwen2(hf["text_config"], tie_embeddings=text.tied(hf))
    tower = qwen_vision.qwen2_5_vl(hf["vision_config"])
    placeholders = hf["image_token_id"], hf["video_token_id"]
    weights = text.weights(decoder, "model.", "lm_head") + patch_vit.weights(tower, "visual.")
    return Family(MLLMConfig(decoder, tower, placeholders=placeholders), tuple(weights), modules=MODULES)
