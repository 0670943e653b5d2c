"""Llama-style decoder over prompt trees: RMSNorm, RoPE, grouped-query attention, SwiGLU; scanned over layers."""

import dataclasses
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from align_jax.models.attention import Segment, attend, rotary, rotate
from align_jax.models.linear import Linear
from align_jax.sharding import BATCH, Rules, constrain
from align_jax.types import pytree


@dataclasses.dataclass(frozen=True)
class DecoderConfig:
    vocab_size: int
    dim: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    mlp_dim: int
    rope_theta: float = 10000.0
    norm_eps: float = 1e-5
    tie_embeddings: bool = False
    remat: bool = False  # recompute each layer in the backward pass: less memory, a third more work
    unroll: int = 1  # layers per step of the scan; a few small layers run faster unrolled
    dtype: str = "float32"  # of activations; parameters stay float32


@pytree
class KVCache:
    """Keys and values of prompts, once each, and of K completions of each. Leading axis: layers."""

    prompt_keys: jax.Array  # [L, B, P, H, D]
    prompt_values: jax.Array
    keys: jax.Array  # [L, B, K, R, H, D]
    values: jax.Array
    prompt_mask: jax.Array  # f32[B, P]


class Context(NamedTuple):
    """What is the same for all layers."""

    cos: jax.Array  # f32[B, S, D / 2]
    sin: jax.Array
    prompt_mask: jax.Array  # f32[B, P]
    step: jax.Array | None = None  # i32[] number of completion tokens in the cache


class Past(NamedTuple):
    """One layer's slice of a KVCache."""

    prompt_keys: jax.Array  # [B, P, H, D]
    prompt_values: jax.Array
    keys: jax.Array  # [B, K, R, H, D]
    values: jax.Array


class RMSNorm(nn.Module):
    eps: float

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],))
        x_f32 = x.astype(jnp.float32)
        normed = x_f32 * jax.lax.rsqrt(jnp.mean(x_f32**2, axis=-1, keepdims=True) + self.eps)
        scale = jnp.expand_dims(scale.astype(jnp.float32), range(x.ndim - 1))
        return (normed * scale).astype(x.dtype)


class GatedMLP(nn.Module):
    """SwiGLU. Shazeer 2020, https://arxiv.org/abs/2002.05202."""

    config: DecoderConfig

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        def linear(features: int, name: str) -> Linear:
            return Linear((features,), dtype=self.config.dtype, name=name)

        hidden = nn.silu(linear(self.config.mlp_dim, "gate")(x)) * linear(self.config.mlp_dim, "up")(x)
        return linear(self.config.dim, "down")(hidden)


class TreeAttention(nn.Module):
    """Self-attention of a prompt and K completions of it, given as one row of P + K * R tokens."""

    config: DecoderConfig
    prompt_length: int  # P; 0 when the prompt is in `past`
    completions: int  # K; 0 for a prompt alone

    @nn.compact
    def __call__(self, x: jax.Array, context: Context, past: Past | None):
        c = self.config

        def project(heads: int, name: str) -> jax.Array:
            return Linear((heads, c.head_dim), dtype=c.dtype, name=name)(x)

        queries, keys, values = project(c.heads, "query"), project(c.kv_heads, "key"), project(c.kv_heads, "value")
        queries, keys = (rotate(t, context.cos, context.sin) for t in (queries, keys))

        def split(t: jax.Array) -> tuple[jax.Array, jax.Array | None]:  # [B, P, ...], [B, K, R, ...]
            prompt, rest = t[:, : self.prompt_length], t[:, self.prompt_length :]
            return prompt, rest.reshape(rest.shape[0], self.completions, -1, *rest.shape[2:])

        prompt_seen = context.prompt_mask[:, None, None, :] > 0  # [B, 1, 1, P]
        out = []
        if self.prompt_length:
            own = Segment(keys[:, : self.prompt_length], values[:, : self.prompt_length], None)
            causal = jnp.tril(jnp.ones((self.prompt_length, self.prompt_length), bool))
            out.append(
                attend(queries[:, None, : self.prompt_length], [own._replace(mask=causal[None, None] & prompt_seen)])[
                    :, 0
                ]
            )
        if self.completions:
            (prompt_keys, own_keys), (prompt_values, own_values) = split(keys), split(values)
            own_queries = split(queries)[1]
            length = own_queries.shape[2]
            segments = [Segment(own_keys, own_values, jnp.tril(jnp.ones((length, length), bool))[None, None])]
            if past is None:
                segments.append(Segment(prompt_keys, prompt_values, prompt_seen))
            else:
                written = (jnp.arange(past.keys.shape[2]) < context.step)[None, None, None]
                segments.append(Segment(past.prompt_keys, past.prompt_values, prompt_seen))
                segments.append(Segment(past.keys, past.values, written))
            rest = attend(own_queries, segments)
            out.append(rest.reshape(rest.shape[0], -1, *rest.shape[3:]))
        return Linear((c.dim,), inputs=2, dtype=c.dtype, name="out")(jnp.concatenate(out, 1)), (keys, values)


class DecoderLayer(nn.Module):
    config: DecoderConfig
    prompt_length: int
    completions: int
    keep_kv: bool

    @nn.compact
    def __call__(self, x: jax.Array, context: Context, past: Past | None):
        x = constrain(x, BATCH, None, None)
        attention = TreeAttention(self.config, self.prompt_length, self.completions, name="attention")
        out, kv = attention(RMSNorm(self.config.norm_eps, name="attention_norm")(x), context, past)
        x = x + out
        x = x + GatedMLP(self.config, name="mlp")(RMSNorm(self.config.norm_eps, name="mlp_norm")(x))
        return x, kv if self.keep_kv else None


class Decoder(nn.Module):
    config: DecoderConfig

    def setup(self):
        c = self.config
        self.embed = nn.Embed(c.vocab_size, c.dim, dtype=c.dtype, embedding_init=nn.initializers.normal(0.02))
        self.norm = RMSNorm(c.norm_eps)
        if not c.tie_embeddings:
            self.head = Linear((c.vocab_size,), dtype=c.dtype)

    def unembed(self, hidden: jax.Array) -> jax.Array:
        """[..., dim] -> logits [..., V]."""
        return self.embed.attend(hidden) if self.config.tie_embeddings else self.head(hidden)

    def tree(self, prompt: jax.Array, prompt_mask: jax.Array, tokens: jax.Array) -> jax.Array:
        """Hidden states of completions: embedded prompt [B, P, dim], tokens i32[B, K, R] -> [B, K, R, dim]."""
        B, K, R = tokens.shape
        x = jnp.concatenate([prompt, self.embed(tokens).reshape(B, K * R, -1)], axis=1)
        context = self._context(prompt_mask, tree_positions(prompt_mask, K, R))
        x, _ = self.run_layers(x, context, None, prompt.shape[1], K, False)
        return self.norm(x[:, prompt.shape[1] :]).reshape(B, K, R, -1)

    def prefill(self, prompt: jax.Array, prompt_mask: jax.Array, completions: int, length: int) -> KVCache:
        """Cache of embedded prompts [B, P, dim], with room for `completions` of `length` tokens each."""
        context = self._context(prompt_mask, tree_positions(prompt_mask, 0, 0))
        _, (keys, values) = self.run_layers(prompt, context, None, prompt.shape[1], 0, True)
        room = jnp.zeros((*keys.shape[:2], completions, length, *keys.shape[3:]), keys.dtype)
        return KVCache(keys, values, room, room, prompt_mask)

    def decode(self, cache: KVCache, tokens: jax.Array, step: jax.Array) -> tuple[jax.Array, KVCache]:
        """One more token i32[B, K] of each completion -> hidden states [B, K, dim]."""
        positions = jnp.broadcast_to(cache.prompt_mask.sum(-1).astype(jnp.int32)[:, None] + step, tokens.shape)
        context = self._context(cache.prompt_mask, positions)._replace(step=step)
        past = Past(cache.prompt_keys, cache.prompt_values, cache.keys, cache.values)
        x, new = self.run_layers(self.embed(tokens), context, past, 0, tokens.shape[1], True)
        # Written here, once for all layers, so that the cache is updated in place and never copied by the scan.
        keys, values = (
            jax.lax.dynamic_update_index_in_dim(old, written, step, axis=3)
            for old, written in zip((cache.keys, cache.values), new, strict=True)
        )
        return self.norm(x), dataclasses.replace(cache, keys=keys, values=values)

    @nn.compact
    def run_layers(self, x, context: Context, past, prompt_length: int, completions: int, keep_kv: bool):
        """Runs all layers, their parameters stacked on a leading axis; returns the keys and values of `x` if asked."""
        layer = nn.remat(DecoderLayer, prevent_cse=False) if self.config.remat else DecoderLayer
        scanned = nn.scan(
            layer,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=(nn.broadcast, 0),
            length=self.config.layers,
            unroll=self.config.unroll,
        )
        return scanned(self.config, prompt_length, completions, keep_kv, name="layers")(x, context, past)

    def _context(self, prompt_mask: jax.Array, positions: jax.Array) -> Context:
        return Context(*rotary(positions, self.config.head_dim, self.config.rope_theta), prompt_mask)


def tree_positions(prompt_mask: jax.Array, completions: int, length: int) -> jax.Array:
    """i32[B, P + K * R]: positions count what is not padding; every completion continues its prompt."""
    prompt = jnp.maximum(jnp.cumsum(prompt_mask, axis=-1) - 1, 0)
    rest = prompt_mask.sum(-1)[:, None, None] + jnp.arange(length)[None, None, :]
    rest = jnp.broadcast_to(rest, (prompt.shape[0], completions, length)).reshape(prompt.shape[0], -1)
    return jnp.concatenate([prompt, rest], axis=1).astype(jnp.int32)


def rules(config: DecoderConfig) -> Rules:
    """Partition rules of a decoder's parameters."""
    head = () if config.tie_embeddings else ((r"decoder/head/kernel", P("fsdp", "tensor")),)
    return (
        (r"decoder/embed/embedding", P("tensor", "fsdp")),
        (r"decoder/layers/attention/(query|key|value)/kernel", P(None, "fsdp", "tensor", None)),
        (r"decoder/layers/attention/out/kernel", P(None, "tensor", None, "fsdp")),
        (r"decoder/layers/mlp/(gate|up)/kernel", P(None, "fsdp", "tensor")),
        (r"decoder/layers/mlp/down/kernel", P(None, "tensor", "fsdp")),
        (r"decoder/layers/.*norm/scale", P(None, None)),
        (r"decoder/norm/scale", P(None)),
        *head,
    )
