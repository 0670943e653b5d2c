"""Gemma 3 with SigLIP; the tokens of a picture see each other in both directions. https://arxiv.org/abs/2503.19786."""

from collections.abc import Mapping
from typing import Any

from align_jax import registry
from align_jax.models import projector, vit
from align_jax.models.families import llava, projectors, text, vision
from align_jax.models.families.base import Family
from align_jax.models.mllm import MLLMConfig


@registry.entry()
def gemma3(*, hf: Mapping[str, Any]) -> Family:
    """SigLIP, average pooling, Gemma 3."""
    decoder = text.gemma3(hf["text_config"], tie_embeddings=text.tied(hf))
    tower, pooling = vision.siglip(hf["vision_config"]), projectors.gemma3(hf)
    weights = [
        *text.weights(decoder, "language_model.model.", "language_model.lm_head"),
        *vit.weights(tower, "vision_tower."),
        *projector.weights(pooling, "multi_modal_projector.", projector.GEMMA3),
    ]
    sizes = MLLMConfig(decoder, tower, pooling, placeholders=(hf["image_token_index"],), blocks=True)
    return Family(sizes, tuple(weights), llava.PUBLISHED, llava.MODULES)
