"""From patches to features as wide as a decoder's tokens: the merger of Qwen-VL."""

import flax.linen as nn
import jax

from align_jax.models.linear import Linear
from align_jax.models.norm import RMSNorm

NORM_EPS = 1e-6


def patch_norm(kind: str, dtype: str, name: str) -> nn.Module:
    """A normalisation of the tower: "layer" or "rms"; computed in float32, handed on as `dtype`."""
    return RMSNorm(NORM_EPS, name=name) if kind == "rms" else nn.LayerNorm(NORM_EPS, dtype=dtype, name=name)


class PatchMerger(nn.Module):
    """Makes one feature of every `patches` consecutive patches, by an MLP over all of them."""

    patches: int  # merge**2
    out_dim: int
    norm_kind: str = "layer"
    norm_merged: bool = False  # normalises what was put together, not each patch: DeepStack of Qwen3-VL
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, S, dim] -> [B, S / patches, out_dim]."""
        B, S, dim = x.shape
        merged = (B, S // self.patches, self.patches * dim)
        norm = patch_norm(self.norm_kind, self.dtype, "norm")
        x = norm(x.reshape(merged)) if self.norm_merged else norm(x).reshape(merged)
        x = nn.gelu(Linear(merged[-1:], use_bias=True, dtype=self.dtype, name="up")(x), approximate=False)
        return Linear((self.out_dim,), use_bias=True, dtype=self.dtype, name="down")(x)
