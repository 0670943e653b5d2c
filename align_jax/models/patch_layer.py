"""One layer of a vision tower over packed patches: attention within frames or windows of them, and an MLP."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from align_jax.models.activations import ACTIVATIONS
from align_jax.models.attention import Segment, attend
from align_jax.models.linear import Linear
from align_jax.models.patch_config import PatchVisionConfig
from align_jax.models.patch_merger import patch_norm
from align_jax.models.rope import rotate
from align_jax.sharding import BATCH, constrain


class Context(NamedTuple):
    """What is the same for all layers."""

    cos: jax.Array  # f32[B, S, D / 2]
    sin: jax.Array
    segment: jax.Array  # i32[B, S]


class Schedule(NamedTuple):
    """What differs between layers, besides their parameters."""

    full: jax.Array  # bool[] attends to the whole frame, not only to a window of it
    keep: jax.Array  # bool[D] which DeepStack features are made of its output


class PatchLayer(nn.Module):
    config: PatchVisionConfig

    @nn.compact
    def __call__(self, carry: tuple[jax.Array, jax.Array], context: Context, schedule: Schedule):
        """([B, S, dim], [D, B, S, dim]) -> the same, the second with `x` where the schedule says so."""
        x, kept = carry
        block = nn.remat(PatchLayer.block, prevent_cse=False) if self.config.remat else PatchLayer.block
        x = block(self, x, context, schedule.full)
        # Not in the block: what is recomputed saves its inputs, and would save `kept` once for each layer.
        return (x, jnp.where(schedule.keep[:, None, None, None], x[None], kept)), None

    def block(self, x: jax.Array, context: Context, full: jax.Array) -> jax.Array:
        c = self.config

        def project(x: jax.Array, name: str, *features: int, inputs: int = 1) -> jax.Array:
            return Linear(features, inputs, use_bias=True, dtype=c.dtype, name=name)(x)

        x = constrain(x, BATCH, None, None)
        y = patch_norm(c.norm, c.dtype, "attention_norm")(x)
        queries, keys, values = jnp.unstack(project(y, "qkv", 3, c.heads, c.dim // c.heads), axis=2)
        queries, keys = (rotate(t, context.cos, context.sin) for t in (queries, keys))
        x = x + project(self._attention(context.segment, full, queries, keys, values), "out", c.dim, inputs=2)
        y = patch_norm(c.norm, c.dtype, "mlp_norm")(x)
        activation, up = ACTIVATIONS[c.activation], project(y, "up", c.mlp_dim)
        y = activation(project(y, "gate", c.mlp_dim)) * up if c.gated else activation(up)
        return x + project(y, "down", c.dim)

    def _attention(self, segment: jax.Array, full: jax.Array, *qkv: jax.Array) -> jax.Array:
        if not self.config.window:
            return attend_within(segment, segment.shape[1], *qkv)
        return jax.lax.cond(
            full,
            lambda *qkv: attend_within(segment, segment.shape[1], *qkv),
            lambda *qkv: attend_within(segment, self.config.window, *qkv),
            *qkv,
        )


def attend_within(segment: jax.Array, window: int, *qkv: jax.Array) -> jax.Array:
    """Attention among patches of one frame in each run of `window`; queries, keys, values and result [B, S, H, D]."""
    B, S = segment.shape
    segment, queries, keys, values = (x.reshape(B, S // window, window, *x.shape[2:]) for x in (segment, *qkv))
    # Padding, of segment 0, sees padding, so that no patch sees nothing.
    same = segment[..., :, None] == segment[..., None, :]
    return attend(queries, [Segment(keys, values, same)]).reshape(B, S, *queries.shape[3:])
