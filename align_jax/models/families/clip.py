"""CLIP, both towers. Radford et al. 2021, https://arxiv.org/abs/2103.00020."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from align_jax import registry
from align_jax.models import clip_text, vit
from align_jax.models.clip import ClipConfig
from align_jax.models.clip_text import TextConfig
from align_jax.models.families import vision
from align_jax.models.families.base import Family, activation
from align_jax.models.weights import Tensor, linear


@registry.entry()
def clip(*, hf: Mapping[str, Any]) -> Family:
    """`CLIPModel` of transformers.

    Texts are read at their last token. transformers looks for the first end-of-text token, or, in files of before
    2023, for the largest id: the same token of every text that the tokenizer makes.
    """
    tower = vision.clip(hf["vision_config"])
    tower = dataclasses.replace(tower, post_norm=True, unused=(), pooled=True)
    sizes = ClipConfig(tower, _text(hf["text_config"]), hf["projection_dim"])
    weights = [
        *vit.weights(sizes.vision, "vision_model."),
        *clip_text.weights(sizes.text, "text_model."),
        *linear("vision_projection", "visual_projection"),
        *linear("text_projection", "text_projection"),
        Tensor("logit_scale", "logit_scale"),
    ]
    return Family(sizes, tuple(weights))


def _text(text: Mapping[str, Any]) -> TextConfig:
    return TextConfig(
        vocab_size=text["vocab_size"],
        context=text["max_position_embeddings"],
        dim=text["hidden_size"],
        layers=text["num_hidden_layers"],
        heads=text["num_attention_heads"],
        mlp_dim=text["intermediate_size"],
        activation=activation(text, "hidden_act", vision.ACTIVATIONS),
        norm_eps=text["layer_norm_eps"],
    )
