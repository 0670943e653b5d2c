"""The projectors of the families: from a whole config, parts nested, to sizes."""

import math
from collections.abc import Mapping
from typing import Any

from align_jax.models.families.base import activation
from align_jax.models.families.vision import ACTIVATIONS
from align_jax.models.projector import ProjectorConfig


def llava(hf: Mapping[str, Any]) -> ProjectorConfig:
    """LLaVA, LLaVA-NeXT and LLaVA-OneVision.

    Raises:
      ValueError: a setting that we cannot run; likewise below.
    """
    return _mlp(hf, bias=hf["multimodal_projector_bias"])


def internvl(hf: Mapping[str, Any]) -> ProjectorConfig:
    """The factor is the inverse of `downsample_ratio`."""
    return _mlp(hf, pool=int(1 / hf["downsample_ratio"]), shuffle=True, norm="layer")


def idefics3(hf: Mapping[str, Any]) -> ProjectorConfig:
    """Idefics3 and SmolVLM."""
    return ProjectorConfig(_dim(hf), hidden_dim=0, pool=hf["scale_factor"], shuffle=True, bias=False)


def gemma3(hf: Mapping[str, Any]) -> ProjectorConfig:
    """Pools as far as `mm_tokens_per_image` says."""
    vision = hf["vision_config"]
    side = vision["image_size"] // vision["patch_size"]
    pool = side // math.isqrt(hf["mm_tokens_per_image"])
    return ProjectorConfig(
        _dim(hf), hidden_dim=0, pool=pool, norm="rms", norm_eps=vision["layer_norm_eps"], bias=False
    )


def qwen2_audio(hf: Mapping[str, Any]) -> ProjectorConfig:
    """One layer."""
    return ProjectorConfig(_dim(hf), hidden_dim=0)


def _mlp(hf: Mapping[str, Any], **settings: Any) -> ProjectorConfig:
    named = activation(hf, "projector_hidden_act", ACTIVATIONS)
    return ProjectorConfig(_dim(hf), hidden_dim=_dim(hf), activation=named, **settings)


def _dim(hf: Mapping[str, Any]) -> int:
    return hf["text_config"]["hidden_size"]
