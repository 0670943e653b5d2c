"""InternVL 2.5, 3 and 3.5 in transformers' own format. https://arxiv.org/abs/2504.10479."""

from collections.abc import Mapping
from typing import Any

from align_jax import registry
from align_jax.models import projector, vit, vit_names
from align_jax.models.families import llava, projectors, text, vision
from align_jax.models.families.base import Family, refuse
from align_jax.models.mllm import MLLMConfig

MODULES = llava.MODULES


@registry.entry()
def internvl(*, hf: Mapping[str, Any]) -> Family:
    """InternViT, pixel shuffle, and Qwen2 or another decoder."""
    if hf["vision_feature_select_strategy"] != "default":
        refuse(f"vision_feature_select_strategy {hf['vision_feature_select_strategy']!r}")
    decoder, tower = llava.decoder_of(hf), vision.internvit(hf["vision_config"], hf["vision_feature_layer"])
    mlp = projectors.internvl(hf)
    weights = [
        *text.weights(decoder, "language_model.model.", "language_model.lm_head"),
        *vit.weights(tower, "vision_tower.", vit_names.INTERNVIT),
        *projector.weights(mlp, "multi_modal_projector.", projector.INTERNVL),
    ]
    return Family(MLLMConfig(decoder, tower, mlp, placeholders=(hf["image_token_id"],)), tuple(weights), (), MODULES)
