"""The encoder that towers of one input size share: layers in which everything sees everything, scanned.

Dosovitskiy et al. 2021, https://arxiv.org/abs/2010.11929; layer scale: Touvron et al. 2021,
https://arxiv.org/abs/2103.17239; norms on queries and keys: Dehghani et al. 2023, https://arxiv.org/abs/2302.05442.
"""

import dataclasses
from collections.abc import Mapping

import flax.linen as nn
import jax
from jax.sharding import PartitionSpec as P

from align_jax.models.activations import ACTIVATIONS
from align_jax.models.attention import Segment, attend
from align_jax.models.linear import Linear
from align_jax.models.norm import RMSNorm
from align_jax.models.weights import Tensor, linear, norm
from align_jax.sharding import Rules

QK_NORM_EPS = 1e-6  # InternViT's, whatever its other norms have


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    dim: int
    layers: int  # layers that are run: 23 of CLIP-L's 24 for LLaVA, which reads the last but one
    heads: int
    mlp_dim: int
    activation: str = "gelu"  # or gelu_tanh, quick_gelu, silu
    norm: str = "layer"  # or rms
    norm_eps: float = 1e-5
    attention_bias: tuple[str, ...] = ("query", "key", "value")  # which of these have one
    qk_norm: bool = False  # RMSNorm of queries and keys, over all heads together
    layer_scale: float | None = None  # first value of the learned scale of what a layer adds; None: there is none
    remat: bool = False  # recompute each layer in the backward pass
    unroll: int = 1  # layers per step of the scan
    dtype: str = "float32"  # of activations

    def __post_init__(self) -> None:
        object.__setattr__(self, "attention_bias", tuple(self.attention_bias))  # read from JSON: a list has no hash


class EncoderLayer(nn.Module):
    config: EncoderConfig

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array | None):
        """[M, S, dim] -> the same; mask bool[M, 1, 1, S]: True where an input may be seen; None: everywhere."""
        x = x + self._scaled("attention_scale", self._attention(self._norm("attention_norm", x), mask))
        y = ACTIVATIONS[self.config.activation](self._linear("up", self.config.mlp_dim)(self._norm("mlp_norm", x)))
        return x + self._scaled("mlp_scale", self._linear("down", self.config.dim)(y)), None

    def _attention(self, x: jax.Array, mask: jax.Array | None) -> jax.Array:
        c = self.config
        queries, keys, values = (
            self._linear(name, c.heads, c.dim // c.heads, use_bias=name in c.attention_bias)(x)
            for name in ("query", "key", "value")
        )
        if c.qk_norm:
            queries, keys = self._over_heads("query_norm", queries), self._over_heads("key_norm", keys)
        y = attend(queries[:, None], [Segment(keys, values, mask)])[:, 0]
        return self._linear("out", c.dim, inputs=2)(y)

    def _linear(self, name: str, *features: int, inputs: int = 1, use_bias: bool = True) -> Linear:
        return Linear(features, inputs, use_bias, self.config.dtype, name=name)

    def _norm(self, name: str, x: jax.Array) -> jax.Array:
        c = self.config
        return (
            RMSNorm(c.norm_eps, name=name) if c.norm == "rms" else nn.LayerNorm(c.norm_eps, dtype=c.dtype, name=name)
        )(x)

    def _over_heads(self, name: str, x: jax.Array) -> jax.Array:
        return RMSNorm(QK_NORM_EPS, name=name)(x.reshape(*x.shape[:2], -1)).reshape(x.shape)

    def _scaled(self, name: str, x: jax.Array) -> jax.Array:
        c = self.config
        if c.layer_scale is None:
            return x
        return x * self.param(name, nn.initializers.constant(c.layer_scale), (c.dim,)).astype(x.dtype)[None, None]


def stack(config: EncoderConfig, length: int, name: str) -> nn.Module:
    """`length` layers, with their parameters on a leading axis: `x, _ = stack(...)(x, mask)`.

    Callers constrain `x` to lie by rows. Inside of the layers that gave wrong rows on CPU meshes (XLA, jax 0.10.2).
    """
    layer = nn.remat(EncoderLayer, prevent_cse=False) if config.remat else EncoderLayer
    scanned = nn.scan(
        layer,
        variable_axes={"params": 0},
        split_rngs={"params": True},
        in_axes=nn.broadcast,
        length=length,
        unroll=config.unroll,
    )
    return scanned(config, name=name)


def rules(config: EncoderConfig, path: str) -> Rules:
    """Partition rules of the parameters of layers below `path`, a regular expression."""
    bias = ((f"{path}/({'|'.join(config.attention_bias)})/bias", P(None, "tensor", None)),)
    return (
        (f"{path}/.*norm/(scale|bias)", P(None, None)),
        (f"{path}/(query|key|value)/kernel", P(None, "fsdp", "tensor", None)),
        *(bias if config.attention_bias else ()),
        (f"{path}/out/kernel", P(None, "tensor", None, "fsdp")),
        (f"{path}/up/kernel", P(None, "fsdp", "tensor")),
        (f"{path}/down/kernel", P(None, "tensor", "fsdp")),
        (f"{path}/up/bias", P(None, "tensor")),
        (f"{path}/(out|down)/bias", P(None, None)),
        *(((f"{path}/(attention|mlp)_scale$", P(None, None)),) if config.layer_scale is not None else ()),
    )


def weights(config: EncoderConfig, ours: str, theirs: str, parts: Mapping[str, str], first: int = 0) -> list[Tensor]:
    """Layers in a published checkpoint.

    Args:
      config: sizes.
      ours: where the layers are: "vision/layers".
      theirs: what each is called, with {} for its number.
      parts: our name of a part -> theirs. Parts that layers of these sizes lack are left out.
      first: number of the first layer.
    """
    lacking = set() if config.qk_norm else {"query_norm", "key_norm"}
    found, biased = [], {"out", "up", "down", *config.attention_bias}
    for part, their_part in parts.items():
        names = (f"{ours}/{part}", f"{theirs}.{their_part}")
        if part in ("attention_norm", "mlp_norm"):
            found += norm(*names, bias=config.norm == "layer", first=first)
        elif part in ("query_norm", "key_norm"):
            found += [] if part in lacking else norm(*names, first=first)
        elif part in ("attention_scale", "mlp_scale"):
            found.append(Tensor(*names, first=first))
        else:
            found += linear(*names, inputs=1 + (part == "out"), bias=part in biased, first=first)
    return found
