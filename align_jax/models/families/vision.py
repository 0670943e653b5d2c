"""The vision towers that take square tiles: from `vision_config` to sizes.

`layer` says which hidden state the projector reads, as transformers counts them: k is what k layers have made, -1 and
below count from the end, and the final norm is part of none. Without it, the projector reads what the tower returns.
"""

from collections.abc import Mapping
from typing import Any

from align_jax.models.families.base import activation, refuse
from align_jax.models.vit import VisionConfig

ACTIVATIONS = {"quick_gelu": "quick_gelu", "gelu_pytorch_tanh": "gelu_tanh", "gelu": "gelu", "silu": "silu"}


def clip(vision: Mapping[str, Any], layer: int = -1) -> VisionConfig:
    """CLIP never normalises what it returns for patches: its final norm is for the class token alone.

    Raises:
      ValueError: a setting that we cannot run; likewise below.
    """
    return _tower(
        vision,
        layer,
        class_token=True,
        pre_norm=True,
        post_norm=False,
        unused=_norm("post_layernorm", vision["hidden_size"]),
    )


def siglip(vision: Mapping[str, Any], layer: int | None = None) -> VisionConfig:
    """SigLIP, with or without its pooling head, which no multimodal model reads."""
    dim, unused = vision["hidden_size"], ()
    if layer is not None:
        unused += _norm("post_layernorm", dim)
    if vision.get("vision_use_head"):
        unused += _siglip_head(dim, vision["intermediate_size"])
    return _tower(vision, layer, patch_bias=True, post_norm=layer is None, unused=unused)


def idefics3(vision: Mapping[str, Any]) -> VisionConfig:
    """Idefics3 and SmolVLM: SigLIP for tiles of any size, of which their processors make only whole squares.

    A patch of a whole square has the position of its own number. For some sides, 19 and 25 the smallest, transformers
    rounds it down to that of a neighbour; for those of published models, 26, 27 and 32 patches, it does not.
    """
    return _tower(vision, None, patch_bias=True)


def internvit(vision: Mapping[str, Any], layer: int = -1) -> VisionConfig:
    """InternViT; at -1, and only there, InternVL reads what the tower returns."""
    if not vision["use_absolute_position_embeddings"]:
        refuse("use_absolute_position_embeddings = False")
    dim, last = vision["hidden_size"], layer == -1
    normed = not vision["use_mean_pooling"]
    unused = (("embeddings.mask_token", (1, 1, dim)),) if vision["use_mask_token"] else ()
    if normed and not last:
        unused += _norm("layernorm", dim)
    return _tower(
        vision,
        layer,
        class_token=True,
        patch_bias=True,
        post_norm=normed and last,
        norm={"layer_norm": "layer", "rms_norm": "rms"}[vision["norm_type"]],
        attention_bias=("query", "key", "value") if vision["attention_bias"] else (),
        qk_norm=vision["use_qk_norm"],
        layer_scale=vision["layer_scale_init_value"],
        unused=unused,
    )


def _tower(vision: Mapping[str, Any], layer: int | None, **settings: Any) -> VisionConfig:
    if not isinstance(layer, int | None):
        refuse(f"vision_feature_layer {layer!r}, more than one,")
    layers = vision["num_hidden_layers"]
    run = layers if layer is None else layer + (layers + 1 if layer < 0 else 0)
    if not 0 < run <= layers:
        refuse(f"vision_feature_layer {layer} of {layers} layers")
    return VisionConfig(
        image_size=_side(vision["image_size"]),
        patch_size=_side(vision["patch_size"]),
        channels=vision["num_channels"],
        dim=vision["hidden_size"],
        layers=run,
        tail=layers - run,
        heads=vision["num_attention_heads"],
        mlp_dim=vision["intermediate_size"],
        activation=activation(vision, "hidden_act", ACTIVATIONS),
        norm_eps=vision["layer_norm_eps"],
        **settings,
    )


def _side(size: Any) -> int:
    sides = set(size) if isinstance(size, list | tuple) else {size}
    if len(sides) > 1:
        refuse(f"a size of {size}, which is not square,")
    return sides.pop()


def _norm(name: str, dim: int) -> tuple[tuple[str, tuple[int, ...]], ...]:
    return ((f"{name}.weight", (dim,)), (f"{name}.bias", (dim,)))


def _siglip_head(dim: int, mlp_dim: int) -> tuple[tuple[str, tuple[int, ...]], ...]:
    return (
        ("head.probe", (1, 1, dim)),
        ("head.attention.in_proj_weight", (3 * dim, dim)),
        ("head.attention.in_proj_bias", (3 * dim,)),
        ("head.attention.out_proj.weight", (dim, dim)),
        ("head.attention.out_proj.bias", (dim,)),
        *_norm("head.layernorm", dim),
        ("head.mlp.fc1.weight", (mlp_dim, dim)),
        ("head.mlp.fc1.bias", (mlp_dim,)),
        ("head.mlp.fc2.weight", (dim, mlp_dim)),
        ("head.mlp.fc2.bias", (dim,)),
    )
