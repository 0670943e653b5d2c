"""Idefics3: SigLIP over tiles, pixel shuffle, Llama 3. Laurençon et al. 2024, https://arxiv.org/abs/2408.12637."""

from collections.abc import Mapping
from typing import Any

from align_jax import registry
from align_jax.models import projector, vit
from align_jax.models.families import llava, projectors, text, vision
from align_jax.models.families.base import Family
from align_jax.models.mllm import MLLMConfig


def family(hf: Mapping[str, Any]) -> Family:
    """What Idefics3 and SmolVLM have in common: all."""
    decoder, tower, shuffle = llava.decoder_of(hf), vision.idefics3(hf["vision_config"]), projectors.idefics3(hf)
    weights = [
        *text.weights(decoder, "model.text_model.", "lm_head"),
        *vit.weights(tower, "model.vision_model."),
        *projector.weights(shuffle, "model.connector.", projector.IDEFICS3),
    ]
    return Family(MLLMConfig(decoder, tower, shuffle, placeholders=(hf["image_token_id"],)), tuple(weights))


@registry.entry()
def idefics3(*, hf: Mapping[str, Any]) -> Family:
    """Idefics3 at any size."""
    return family(hf)
