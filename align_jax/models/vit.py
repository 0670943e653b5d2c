"""Vision transformer of the CLIP family. Radford et al. 2021, https://arxiv.org/abs/2103.00020."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from align_jax.models.attention import Segment, attend
from align_jax.models.linear import Linear
from align_jax.sharding import Rules


def quick_gelu(x: jax.Array) -> jax.Array:
    """CLIP's approximation of GELU."""
    return x * jax.nn.sigmoid(1.702 * x)


@dataclasses.dataclass(frozen=True)
class VisionConfig:
    image_size: int
    patch_size: int
    dim: int
    layers: int  # layers that are run: 23 of CLIP-L's 24 for LLaVA, which reads the last but one
    heads: int
    mlp_dim: int
    class_token: bool = False  # attended to, never handed on: LLaVA takes the patches
    pre_norm: bool = False
    post_norm: bool = True
    activation: str = "gelu"  # gelu, gelu_tanh or quick_gelu
    norm_eps: float = 1e-5
    unroll: int = 1
    dtype: str = "float32"

    @property
    def patches(self) -> int:
        return (self.image_size // self.patch_size) ** 2


ACTIVATIONS = {"gelu": lambda x: nn.gelu(x, approximate=False), "gelu_tanh": nn.gelu, "quick_gelu": quick_gelu}


class VisionLayer(nn.Module):
    config: VisionConfig

    @nn.compact
    def __call__(self, x: jax.Array, _):
        c = self.config
        head_shape = (c.heads, c.dim // c.heads)
        y = nn.LayerNorm(c.norm_eps, dtype=c.dtype, name="attention_norm")(x)
        queries, keys, values = (
            Linear(head_shape, use_bias=True, dtype=c.dtype, name=name)(y) for name in ("query", "key", "value")
        )
        y = attend(queries[:, None], [Segment(keys, values, jnp.ones((1, 1, 1, 1), bool))])[:, 0]
        x = x + Linear((c.dim,), inputs=2, use_bias=True, dtype=c.dtype, name="out")(y)
        y = nn.LayerNorm(c.norm_eps, dtype=c.dtype, name="mlp_norm")(x)
        y = Linear((c.mlp_dim,), use_bias=True, dtype=c.dtype, name="up")(y)
        return x + Linear((c.dim,), use_bias=True, dtype=c.dtype, name="down")(ACTIVATIONS[c.activation](y)), None


class VisionTransformer(nn.Module):
    config: VisionConfig

    @nn.compact
    def __call__(self, pixels: jax.Array) -> jax.Array:
        """f32[M, H, W, C] -> patch features [M, patches, dim], row by row."""
        c = self.config
        M, side = pixels.shape[0], c.image_size // c.patch_size
        if pixels.shape[1:3] != (c.image_size, c.image_size):
            raise ValueError(f"the vision tower takes {c.image_size} x {c.image_size} pixels, not {pixels.shape[1:3]}")
        patches = pixels.reshape(M, side, c.patch_size, side, c.patch_size, -1).swapaxes(2, 3)
        x = Linear((c.dim,), dtype=c.dtype, name="patch")(patches.reshape(M, side * side, -1))
        if c.class_token:
            token = self.param("class_embedding", nn.initializers.normal(0.02), (1, c.dim))
            x = jnp.concatenate([jnp.broadcast_to(token.astype(x.dtype), (M, 1, c.dim)), x], axis=1)
        x = x + self.param("position_embedding", nn.initializers.normal(0.02), x.shape[1:]).astype(x.dtype)[None]
        if c.pre_norm:
            x = nn.LayerNorm(c.norm_eps, dtype=c.dtype, name="pre_norm")(x)
        layers = nn.scan(
            VisionLayer, variable_axes={"params": 0}, split_rngs={"params": True}, length=c.layers, unroll=c.unroll
        )
        x, _ = layers(c, name="layers")(x, None)
        if c.post_norm:
            x = nn.LayerNorm(c.norm_eps, dtype=c.dtype, name="post_norm")(x)
        return x[:, int(c.class_token) :]


def rules(config: VisionConfig) -> Rules:
    """Partition rules of a vision tower's parameters."""
    norms = [name for name in ("pre_norm", "post_norm") if getattr(config, name)]
    embeddings = ["position_embedding"] + ["class_embedding"] * config.class_token
    return (
        (r"vision/patch/kernel", P(None, "tensor")),
        *((f"vision/{name}$", P(None, None)) for name in embeddings),
        *((f"vision/{name}/(scale|bias)", P(None)) for name in norms),
        (r"vision/layers/.*norm/(scale|bias)", P(None, None)),
        (r"vision/layers/(query|key|value)/kernel", P(None, "fsdp", "tensor", None)),
        (r"vision/layers/(query|key|value)/bias", P(None, "tensor", None)),
        (r"vision/layers/out/kernel", P(None, "tensor", None, "fsdp")),
        (r"vision/layers/up/kernel", P(None, "fsdp", "tensor")),
        (r"vision/layers/down/kernel", P(None, "tensor", "fsdp")),
        (r"vision/layers/up/bias", P(None, "tensor")),
        (r"vision/layers/(out|down)/bias", P(None, None)),
    )
