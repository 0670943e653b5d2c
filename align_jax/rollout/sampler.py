"""Sampling of completions: the prompt is encoded once, whatever the number of completions."""

import functools

import jax
import jax.numpy as jnp

from align_jax.types import Params, Policy, PromptTree, pytree


@pytree
class Samples:
    tokens: jax.Array  # i32[B, K, R]; 0 after the end
    mask: jax.Array  # f32[B, K, R]; 1 up to and including the end-of-sequence token
    logps: jax.Array  # f32[B, K, R] under the untempered, unfiltered policy; 0 where masked


@functools.partial(
    jax.jit,
    static_argnames=("policy", "completions", "max_tokens", "eos", "temperature", "top_k", "top_p"),
)
def sample(
    policy: Policy,
    params: Params,
    tree: PromptTree,
    key: jax.Array,
    *,
    completions: int,
    max_tokens: int,
    eos: int,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
) -> Samples:
    """Draws completions of every prompt of a tree; stops when all have ended.

    Args:
      policy: the model.
      params: its parameters.
      tree: prompts; of its completions only the first token is read, which is the last of the prompt.
      key: source of randomness; not read when greedy.
      completions: K, completions per prompt.
      max_tokens: R, where completions are cut off.
      eos: id of the token that ends a completion.
      temperature: 0 takes the most likely token.
      top_k: keep the k most likely tokens; 0 keeps all.
      top_p: keep the most likely tokens up to this total probability. Holtzman et al. 2019, arXiv:1904.09751.
    """
    B = tree.prompt.shape[0]
    cache = policy.prefill(params, tree, completions, max_tokens)
    last = jnp.broadcast_to(tree.tokens[:, 0, 0, None], (B, completions))
    empty = jnp.zeros((B, completions, max_tokens))
    samples = Samples(empty.astype(jnp.int32), empty, empty)

    def unfinished(carry):
        step, _, _, running, _ = carry
        return (step < max_tokens) & jnp.any(running)

    def step_once(carry):
        step, cache, last, running, samples = carry
        hidden, cache = policy.decode(params, cache, last, step)
        logits = policy.unembed(params, hidden).astype(jnp.float32)  # [B, K, V]
        if temperature == 0:
            token = jnp.argmax(logits, axis=-1)
        else:
            filtered = keep_likely(logits / temperature, top_k, top_p)
            token = jax.random.categorical(jax.random.fold_in(key, step), filtered)
        token = jnp.where(running, token, 0).astype(jnp.int32)
        logp = jnp.take_along_axis(jax.nn.log_softmax(logits), token[..., None], axis=-1)[..., 0]
        new = Samples(token, running.astype(jnp.float32), jnp.where(running, logp, 0.0))
        samples = jax.tree.map(lambda old, x: jax.lax.dynamic_update_index_in_dim(old, x, step, axis=2), samples, new)
        return step + 1, cache, token, running & (token != eos), samples

    start = (jnp.int32(0), cache, last, jnp.ones((B, completions), bool), samples)
    return jax.lax.while_loop(unfinished, step_once, start)[-1]


def keep_likely(logits: jax.Array, top_k: int = 0, top_p: float = 1.0) -> jax.Array:
    """Logits [..., V], -inf outside of the k most likely tokens and of the smallest set of probability top_p."""
    if top_k:
        smallest = jax.lax.top_k(logits, min(top_k, logits.shape[-1]))[0][..., -1:]
        logits = jnp.where(logits < smallest, -jnp.inf, logits)
    if top_p < 1:
        ordered = jnp.sort(logits, axis=-1, descending=True)
        probs = jax.nn.softmax(ordered, axis=-1)
        # A token stays when those before it hold less than top_p; the first one always does.
        kept = jnp.cumsum(probs, axis=-1) - probs < top_p
        smallest = jnp.min(jnp.where(kept, ordered, jnp.inf), axis=-1, keepdims=True)
        logits = jnp.where(logits < smallest, -jnp.inf, logits)
    return logits
