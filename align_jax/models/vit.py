"""Vision transformers over square tiles: CLIP, SigLIP, InternViT, and those of Idefics3 and SmolVLM.

Radford et al. 2021, https://arxiv.org/abs/2103.00020; Zhai et al. 2023, https://arxiv.org/abs/2303.15343;
Chen et al. 2023, https://arxiv.org/abs/2312.14238.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from align_jax.models import encoder
from align_jax.models.encoder import EncoderConfig, stack
from align_jax.models.linear import Linear
from align_jax.models.vit_names import CLIP, Names
from align_jax.models.weights import Tensor, linear, norm
from align_jax.sharding import BATCH, Rules, constrain
from align_jax.types import Tiles


@dataclasses.dataclass(frozen=True, kw_only=True)
class VisionConfig(EncoderConfig):
    image_size: int  # of a tile, which is square; what is left over at its right and lower edge is not seen
    patch_size: int
    channels: int = 3
    class_token: bool = False  # attended to, not handed on: LLaVA takes the patches
    pooled: bool = False  # hand on the class token alone: CLIP itself
    patch_bias: bool = False
    pre_norm: bool = False
    post_norm: bool = True
    # What a checkpoint has and nothing reads is kept, so that it can be written again:
    tail: int = 0  # layers behind those that are run
    unused: tuple[tuple[str, tuple[int, ...]], ...] = ()  # names and shapes of tensors, as the checkpoint has them

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "unused", tuple((name, tuple(shape)) for name, shape in self.unused))

    @property
    def patches(self) -> int:
        return (self.image_size // self.patch_size) ** 2


class Unused(nn.Module):
    """Parameters that are carried along."""

    config: VisionConfig

    @nn.compact
    def __call__(self) -> None:
        for name, shape in self.config.unused:
            self.param(name, nn.initializers.zeros, shape)


class VisionTransformer(nn.Module):
    config: VisionConfig

    @nn.compact
    def __call__(self, pixels: jax.Array) -> jax.Array:
        """f32[M, H, W, C] -> patch features [M, patches, dim], row by row; pooled: [M, dim].

        Raises:
          ValueError: tiles of another size.
        """
        c = self.config
        M, side, p = pixels.shape[0], c.image_size // c.patch_size, c.patch_size
        if pixels.shape[1:3] != (c.image_size, c.image_size):
            raise ValueError(f"the vision tower takes {c.image_size} x {c.image_size} pixels, not {pixels.shape[1:3]}")
        patches = pixels[:, : side * p, : side * p].reshape(M, side, p, side, p, -1).swapaxes(2, 3)
        x = Linear((c.dim,), use_bias=c.patch_bias, dtype=c.dtype, name="patch")(patches.reshape(M, side * side, -1))
        if c.class_token:
            token = self.param("class_embedding", nn.initializers.normal(0.02), (1, c.dim))
            x = jnp.concatenate([jnp.broadcast_to(token.astype(x.dtype), (M, 1, c.dim)), x], axis=1)
        x = x + self.param("position_embedding", nn.initializers.normal(0.02), x.shape[1:]).astype(x.dtype)[None]
        if c.pre_norm:
            x = nn.LayerNorm(c.norm_eps, dtype=c.dtype, name="pre_norm")(x)
        x, _ = stack(c, c.layers, "layers")(constrain(x, BATCH, None, None), None)
        if self.is_initializing():
            if c.tail:
                stack(c, c.tail, "tail")(x, None)
            if c.unused:
                Unused(c, name="unused")()
        if c.post_norm:
            x = nn.LayerNorm(c.norm_eps, dtype=c.dtype, name="post_norm")(x)
        return x[:, 0] if c.pooled else x[:, int(c.class_token) :]


def blank(config: VisionConfig) -> Tiles:
    """A row with one tile of zeros."""
    return Tiles(jnp.zeros((1, 1, config.image_size, config.image_size, config.channels)))


def idle(config: VisionConfig) -> tuple[str, ...]:
    """Patterns of the parameters that nothing reads: training leaves them as they are."""
    return ("^vision/tail/",) * (config.tail > 0) + ("^vision/unused/",) * bool(config.unused)


def rules(config: VisionConfig) -> Rules:
    """Partition rules of a vision tower's parameters."""
    norms = [name for name in ("pre_norm", "post_norm") if getattr(config, name)]
    embeddings = ["position_embedding"] + ["class_embedding"] * config.class_token
    return (
        (r"vision/patch/kernel", P(None, "tensor")),
        *(((r"vision/patch/bias", P("tensor")),) if config.patch_bias else ()),
        *((f"vision/{name}$", P(None, None)) for name in embeddings),
        *((f"vision/{name}/(scale|bias)", P(None)) for name in norms),
        *encoder.rules(config, "vision/(layers|tail)" if config.tail else "vision/layers"),
        *(((r"vision/unused/", P()),) if config.unused else ()),
    )


def weights(config: VisionConfig, prefix: str, names: Names = CLIP) -> list[Tensor]:
    """The tower's tensors in a published checkpoint, all of which start with `prefix`."""
    c, side = config, config.patch_size
    window, tokens = (c.dim, c.channels, side, side), c.patches + c.class_token
    found = linear("vision/patch", prefix + names.patch, bias=c.patch_bias, conv=True, shape=window)
    shape = (1, tokens, c.dim) if names.batched else (tokens, c.dim)
    found.append(Tensor("vision/position_embedding", prefix + names.position, shape=shape))
    if c.class_token:
        shape = (1, 1, c.dim) if names.batched else (c.dim,)
        found.append(Tensor("vision/class_embedding", prefix + names.class_token, shape=shape))
    for name in ("pre_norm", "post_norm"):
        found += norm(f"vision/{name}", prefix + getattr(names, name), bias=True) if getattr(c, name) else []
    found += encoder.weights(c, "vision/layers", prefix + names.layer, names.parts)
    if c.tail:
        found += encoder.weights(c, "vision/tail", prefix + names.layer, names.parts, first=c.layers)
    return found + [Tensor(f"vision/unused/{name}", prefix + name) for name, _ in c.unused]
