"""The vision towers of Qwen2-VL, Qwen2.5-VL and Qwen3-VL: from `vision_config` to sizes."""

from collections.abc import Mapping
from typing import Any

from align_jax.models.families.base import activation
from align_jax.models.patch_vit import PatchVisionConfig

ACTIVATIONS = {"quick_gelu": "quick_gelu", "gelu_pytorch_tanh": "gelu_tanh", "silu": "silu"}


def qwen2_vl(vision: Mapping[str, Any], **changes: Any) -> PatchVisionConfig:
    """`hidden_size` is the decoder's width here, and the tower's in later models.

    Raises:
      ValueError: a setting that we cannot run; likewise below.
    """
    dim = vision["embed_dim"]
    return _tower(vision, dim=dim, mlp_dim=int(dim * vision["mlp_ratio"]), out_dim=vision["hidden_size"], **changes)


def qwen2_5_vl(vision: Mapping[str, Any], **changes: Any) -> PatchVisionConfig:
    """Most layers attend within windows, which hold whole squares of merged patches."""
    merge = vision["spatial_merge_size"]
    side = vision["window_size"] // merge // vision["patch_size"] * merge
    return _wide(
        vision,
        window=side**2,
        full_layers=tuple(vision["fullatt_block_indexes"]),
        norm="rms",
        gated=True,
        **changes,
    )


def qwen3_vl(vision: Mapping[str, Any], **changes: Any) -> PatchVisionConfig:
    """Learned positions, and features of several depths (DeepStack)."""
    side = round(vision["num_position_embeddings"] ** 0.5)
    layers = tuple(vision["deepstack_visual_indexes"])
    return _wide(vision, patch_bias=True, position_side=side, deepstack_layers=layers, **changes)


def _wide(vision: Mapping[str, Any], **settings: Any) -> PatchVisionConfig:
    names = {"dim": "hidden_size", "mlp_dim": "intermediate_size", "out_dim": "out_hidden_size"}
    return _tower(vision, **({ours: vision[theirs] for ours, theirs in names.items()} | settings))


def _tower(vision: Mapping[str, Any], **settings: Any) -> PatchVisionConfig:
    side = vision["patch_size"]
    shared = dict(
        patch=(vision.get("in_channels", 3), vision["temporal_patch_size"], side, side),
        layers=vision["depth"],
        heads=vision["num_heads"],
        merge=vision["spatial_merge_size"],
        activation=activation(vision, "hidden_act", ACTIVATIONS),
        rope_theta=float((vision.get("rope_parameters") or {}).get("rope_theta", 10000.0)),
    )
    return PatchVisionConfig(**(shared | settings))
