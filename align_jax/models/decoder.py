"""Decoders of the Llama line over prompt trees: Llama, Mistral, Qwen2, Qwen3 and Gemma 3; scanned over layers."""

import dataclasses
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from align_jax.models import sight
from align_jax.models.activations import ACTIVATIONS
from align_jax.models.decoder_config import DecoderConfig
from align_jax.models.linear import Linear
from align_jax.models.norm import RMSNorm
from align_jax.models.rope import rotary
from align_jax.models.sight import Sight
from align_jax.models.tree_attention import Past, TreeAttention
from align_jax.sharding import BATCH, Rules, constrain
from align_jax.types import pytree


@pytree
class KVCache:
    """Keys and values of prompts, once each, and of K completions of each. Leading axis: layers."""

    prompt_keys: jax.Array  # [L, B, P, H, D]
    prompt_values: jax.Array
    keys: jax.Array  # [L, B, K, R, H, D]
    values: jax.Array
    prompt_mask: jax.Array  # f32[B, P]
    start: jax.Array  # i32[B] position of the first token of a completion


class Context(NamedTuple):
    """What is the same for all layers, in the two forms that layers may ask for."""

    turns: tuple[jax.Array, jax.Array]  # cosines and sines f32[B, S, D / 2]
    sight: Sight
    local_turns: tuple[jax.Array, jax.Array] | None  # of local layers
    local_sight: Sight | None
    deepstack: jax.Array | None = None  # [n, B, P, dim] added to prompts behind the first n layers

    def of_layer(self, local: jax.Array) -> tuple[tuple[jax.Array, jax.Array], Sight]:
        """Turns and sight of a layer; `local` is bool[]."""
        if self.local_sight is None:
            return self.turns, self.sight
        mine, other = (self.local_turns, self.local_sight), (self.turns, self.sight)
        return jax.tree.map(lambda a, b: jnp.where(local, a, b), mine, other)


class GatedMLP(nn.Module):
    """SwiGLU and its kin. Shazeer 2020, https://arxiv.org/abs/2002.05202."""

    config: DecoderConfig

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        def linear(features: int, name: str) -> Linear:
            return Linear((features,), dtype=self.config.dtype, name=name)

        gate = ACTIVATIONS[self.config.activation](linear(self.config.mlp_dim, "gate")(x))
        return linear(self.config.dim, "down")(gate * linear(self.config.mlp_dim, "up")(x))


class DecoderLayer(nn.Module):
    config: DecoderConfig
    prompt_length: int
    completions: int
    keep_kv: bool

    @nn.compact
    def __call__(self, x: jax.Array, context: Context, past: Past | None, number: jax.Array, local: jax.Array):
        c = self.config

        def norm(name: str) -> RMSNorm:
            return RMSNorm(c.norm_eps, c.norm_offset, name=name)

        x = constrain(x, BATCH, None, None)
        attention = TreeAttention(c, self.prompt_length, self.completions, name="attention")
        out, kv = attention(norm("attention_norm")(x), *context.of_layer(local), past)
        x = x + (norm("attention_post_norm")(out) if c.post_norms else out)
        out = GatedMLP(c, name="mlp")(norm("mlp_norm")(x))
        x = x + (norm("mlp_post_norm")(out) if c.post_norms else out)
        if context.deepstack is not None:
            added = jnp.take(context.deepstack, number, axis=0, mode="fill", fill_value=0).astype(x.dtype)
            x = x.at[:, : self.prompt_length].add(added)
        return x, kv if self.keep_kv else None


class Decoder(nn.Module):
    config: DecoderConfig

    def setup(self):
        c = self.config
        self.embed = nn.Embed(c.vocab_size, c.dim, dtype=c.dtype, embedding_init=nn.initializers.normal(0.02))
        self.norm = RMSNorm(c.norm_eps, c.norm_offset)
        if not c.tie_embeddings:
            self.head = Linear((c.vocab_size,), dtype=c.dtype)

    def embed_tokens(self, tokens: jax.Array) -> jax.Array:
        """i32[...] -> [..., dim]."""
        x = self.embed(tokens)
        return x if self.config.embed_scale == 1.0 else x * jnp.asarray(self.config.embed_scale, x.dtype)

    def unembed(self, hidden: jax.Array) -> jax.Array:
        """[..., dim] -> logits [..., V]."""
        logits = self.embed.attend(hidden) if self.config.tie_embeddings else self.head(hidden)
        cap = self.config.final_softcap
        return logits if cap is None else cap * jnp.tanh(logits / cap)

    def tree(
        self,
        prompt: jax.Array,
        prompt_mask: jax.Array,
        tokens: jax.Array,
        positions: jax.Array | None = None,
        start: jax.Array | None = None,
        blocks: jax.Array | None = None,
        deepstack: jax.Array | None = None,
    ) -> jax.Array:
        """Hidden states of completions.

        Args:
          prompt: [B, P, dim], embedded.
          prompt_mask: f32[B, P].
          tokens: i32[B, K, R].
          positions: i32[B, P, 3], or None to count tokens.
          start: i32[B], position of the first token of completions; goes with `positions`.
          blocks: see `sight.of_tree`.
          deepstack: [n, B, P, dim], added to prompts behind the first n layers.

        Returns:
          [B, K, R, dim].
        """
        B, K, R = tokens.shape
        self.config.rope.check(prompt.shape[1] + R)
        x = jnp.concatenate([prompt, self.embed_tokens(tokens).reshape(B, K * R, -1)], axis=1)
        places, start = prompt_positions(prompt_mask, positions, start)
        rest = start[:, None, None, None] + jnp.arange(R)[None, None, :, None]
        rest = jnp.broadcast_to(rest, (B, K, R, places.shape[-1])).reshape(B, K * R, -1)
        context = self._context(jnp.concatenate([places, rest], axis=1), prompt_mask, R, blocks, deepstack)
        x, _ = self.run_layers(x, context, None, prompt.shape[1], K, False)
        return self.norm(x[:, prompt.shape[1] :]).reshape(B, K, R, -1)

    def prefill(
        self, prompt, prompt_mask, completions: int, length: int, positions, start, blocks, deepstack
    ) -> KVCache:
        """Cache of prompts, given as to `tree`, with room for `completions` of `length` tokens each."""
        self.config.rope.check(prompt.shape[1] + length)
        places, start = prompt_positions(prompt_mask, positions, start)
        context = self._context(places, prompt_mask, 0, blocks, deepstack)
        _, (keys, values) = self.run_layers(prompt, context, None, prompt.shape[1], 0, True)
        room = jnp.zeros((*keys.shape[:2], completions, length, *keys.shape[3:]), keys.dtype)
        return KVCache(keys, values, room, room, prompt_mask, start)

    def decode(self, cache: KVCache, tokens: jax.Array, step: jax.Array) -> tuple[jax.Array, KVCache]:
        """One more token i32[B, K] of each completion -> hidden states [B, K, dim]."""
        c, room = self.config, cache.keys.shape[3]
        positions = jnp.broadcast_to((cache.start + step)[:, None, None], (*tokens.shape, 1))
        views = [sight.of_step(cache.prompt_mask, room, step, window) for window in (0, c.window)]
        context = self._both(positions, views)
        past = Past(cache.prompt_keys, cache.prompt_values, cache.keys, cache.values)
        x, new = self.run_layers(self.embed_tokens(tokens), context, past, 0, tokens.shape[1], True)
        # Written here, once for all layers, so that the cache is updated in place and never copied by the scan.
        keys, values = (
            jax.lax.dynamic_update_index_in_dim(old, written, step, axis=3)
            for old, written in zip((cache.keys, cache.values), new, strict=True)
        )
        return self.norm(x), dataclasses.replace(cache, keys=keys, values=values)

    @nn.compact
    def run_layers(self, x, context: Context, past, prompt_length: int, completions: int, keep_kv: bool):
        """Runs all layers, their parameters stacked on a leading axis; returns the keys and values of `x` if asked."""
        c = self.config
        layer = nn.remat(DecoderLayer, prevent_cse=False) if c.remat else DecoderLayer
        scanned = nn.scan(
            layer,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=(nn.broadcast, 0, 0, 0),
            length=c.layers,
            unroll=c.unroll,
        )
        numbers, local = jnp.arange(c.layers), jnp.asarray(c.local or (False,) * c.layers)
        return scanned(c, prompt_length, completions, keep_kv, name="layers")(x, context, past, numbers, local)

    def _context(self, positions, prompt_mask, length: int, blocks, deepstack) -> Context:
        views = [sight.of_tree(prompt_mask, length, window, blocks) for window in (0, self.config.window)]
        return self._both(positions, views)._replace(deepstack=deepstack)

    def _both(self, positions: jax.Array, views: list[Sight]) -> Context:
        c = self.config
        turns = rotary(c.rope, positions, c.head_dim)
        if not any(c.local):
            return Context(turns, views[0], None, None)
        return Context(turns, views[0], rotary(c.local_rope or c.rope, positions, c.head_dim), views[1])


def prompt_positions(
    prompt_mask: jax.Array, positions: jax.Array | None, start: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    """Positions i32[B, P, axes] of prompt tokens, and i32[B] of the first token of completions.

    Where they are not given, tokens are counted, padding left out.
    """
    if positions is not None:
        return positions, start
    count = jnp.cumsum(prompt_mask, axis=-1).astype(jnp.int32)
    return jnp.maximum(count - 1, 0)[..., None], count[:, -1]


def rules(config: DecoderConfig) -> Rules:
    """Partition rules of a decoder's parameters."""
    head = () if config.tie_embeddings else ((r"decoder/head/kernel", P("fsdp", "tensor")),)
    bias = ((r"decoder/layers/attention/(query|key|value)/bias", P(None, "tensor", None)),) if config.qkv_bias else ()
    bias += ((r"decoder/layers/attention/out/bias", P(None, None)),) if config.out_bias else ()
    return (
        (r"decoder/embed/embedding", P("tensor", "fsdp")),
        (r"decoder/layers/attention/(query|key|value)/kernel", P(None, "fsdp", "tensor", None)),
        (r"decoder/layers/attention/out/kernel", P(None, "tensor", None, "fsdp")),
        (r"decoder/layers/mlp/(gate|up)/kernel", P(None, "fsdp", "tensor")),
        (r"decoder/layers/mlp/down/kernel", P(None, "tensor", "fsdp")),
        (r"decoder/layers/.*norm/scale", P(None, None)),
        (r"decoder/norm/scale", P(None)),
        *bias,
        *head,
    )
