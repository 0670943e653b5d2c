"""LLaVA-1.5: CLIP, a two-layer MLP and Vicuna. Liu et al. 2023, https://arxiv.org/abs/2310.03744."""

from collections.abc import Mapping
from typing import Any

from align_jax import registry
from align_jax.models import projector, vit
from align_jax.models.decoder import DecoderConfig
from align_jax.models.families import projectors, text, vision
from align_jax.models.families.base import Family, refuse
from align_jax.models.mllm import MLLMConfig
from align_jax.models.weights import Tensor

# A level of names that published checkpoints have, and that transformers 5 dropped.
PUBLISHED = (("vision_tower.", "vision_tower.vision_model."),)
# In memory; on disk, names are those of the first release.
MODULES = (
    ("language_model.model.", "model.language_model."),
    ("language_model.lm_head", "lm_head"),
    ("vision_tower.", "model.vision_tower."),
    ("multi_modal_projector.", "model.multi_modal_projector."),
    ("image_newline", "model.image_newline"),
)


def decoder_of(hf: Mapping[str, Any]) -> DecoderConfig:
    """Vicuna, Mistral, Qwen2 or Llama 3, whichever `text_config` is.

    Raises:
      ValueError: another decoder.
    """
    kinds = {"llama": text.decoder, "mistral": text.decoder, "qwen2": text.qwen2, "qwen3": text.qwen3}
    kind = hf["text_config"]["model_type"]
    if kind not in kinds:
        refuse(f"a text model of type {kind!r}")
    return kinds[kind](hf["text_config"], tie_embeddings=text.tied(hf))


def tower_of(hf: Mapping[str, Any]) -> vit.VisionConfig:
    """CLIP without its class token, or SigLIP.

    Raises:
      ValueError: another tower, or other features of it.
    """
    kind, layer = hf["vision_config"]["model_type"], hf["vision_feature_layer"]
    towers = {"clip_vision_model": (vision.clip, "default"), "siglip_vision_model": (vision.siglip, "full")}
    if kind not in towers:
        refuse(f"a vision tower of type {kind!r}")
    build, strategy = towers[kind]
    if hf["vision_feature_select_strategy"] != strategy:
        refuse(f"vision_feature_select_strategy {hf['vision_feature_select_strategy']!r} of {kind}")
    return build(hf["vision_config"], layer)


def family(hf: Mapping[str, Any], *, newline: bool = False, placeholders: tuple[int, ...]) -> Family:
    """What LLaVA-1.5, LLaVA-NeXT and LLaVA-OneVision have in common."""
    decoder, tower, mlp = decoder_of(hf), tower_of(hf), projectors.llava(hf)
    weights = [
        *text.weights(decoder, "language_model.model.", "language_model.lm_head"),
        *vit.weights(tower, "vision_tower."),
        *projector.weights(mlp, "multi_modal_projector."),
        *([Tensor("newline/embedding", "image_newline")] if newline else ()),
    ]
    sizes = MLLMConfig(decoder, tower, mlp, placeholders=placeholders, newline=newline)
    return Family(sizes, tuple(weights), PUBLISHED, MODULES)


@registry.entry()
def llava(*, hf: Mapping[str, Any]) -> Family:
    """One tile for each picture."""
    return family(hf, placeholders=(hf["image_token_index"],))
