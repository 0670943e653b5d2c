"""Self-attention over prompt trees: the prompt's keys and values serve all of its completions."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from align_jax.models.attention import Segment, attend
from align_jax.models.decoder_config import DecoderConfig
from align_jax.models.linear import Linear
from align_jax.models.norm import RMSNorm
from align_jax.models.rope import rotate
from align_jax.models.sight import Sight


class Past(NamedTuple):
    """One layer's slice of a KVCache."""

    prompt_keys: jax.Array  # [B, P, H, D]
    prompt_values: jax.Array
    keys: jax.Array  # [B, K, R, H, D]
    values: jax.Array


class TreeAttention(nn.Module):
    """Of a prompt and K completions of it, given as one row of P + K * R tokens."""

    config: DecoderConfig
    prompt_length: int  # P; 0 when the prompt is in `past`
    completions: int  # K; 0 for a prompt alone

    @nn.compact
    def __call__(self, x: jax.Array, turns: tuple[jax.Array, jax.Array], sight: Sight, past: Past | None):
        """[B, P + K * R, dim] -> the same shape, and keys and values of `x`."""
        c, P = self.config, self.prompt_length

        def project(heads: int, name: str) -> jax.Array:
            return Linear((heads, c.head_dim), use_bias=c.qkv_bias, dtype=c.dtype, name=name)(x)

        queries, keys, values = project(c.heads, "query"), project(c.kv_heads, "key"), project(c.kv_heads, "value")
        if c.qk_norm:
            queries = RMSNorm(c.norm_eps, c.norm_offset, name="query_norm")(queries)
            keys = RMSNorm(c.norm_eps, c.norm_offset, name="key_norm")(keys)
        queries, keys = rotate(queries, *turns), rotate(keys, *turns)

        def completions(t: jax.Array) -> jax.Array:  # [B, P + K * R, ...] -> [B, K, R, ...]
            return t[:, P:].reshape(t.shape[0], self.completions, -1, *t.shape[2:])

        def look(queries: jax.Array, *segments: Segment) -> jax.Array:  # -> [B, K * R, H * G, D]
            out = attend(queries, list(segments), c.query_scale, c.attention_softcap)
            return out.reshape(out.shape[0], -1, *out.shape[3:])

        out = []
        if P:
            out.append(look(queries[:, None, :P], Segment(keys[:, :P], values[:, :P], sight.prompt)))
        if self.completions and past is None:
            own = Segment(completions(keys), completions(values), sight.own)
            out.append(look(completions(queries), own, Segment(keys[:, :P], values[:, :P], sight.back)))
        elif self.completions:
            here = Segment(completions(keys), completions(values), None)
            prompt = Segment(past.prompt_keys, past.prompt_values, sight.back)
            out.append(look(completions(queries), here, prompt, Segment(past.keys, past.values, sight.own)))
        out = Linear((c.dim,), inputs=2, use_bias=c.out_bias, dtype=c.dtype, name="out")(jnp.concatenate(out, 1))
        return out, (keys, values)
