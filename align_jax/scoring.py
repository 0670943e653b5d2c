"""From hidden states to log-probabilities, without ever holding the logits of all positions."""

import jax
import jax.numpy as jnp

from align_jax.types import Params, Policy, PromptTree, Scores


def score(policy: Policy, params: Params, tree: PromptTree, *, chunk: int = 128, entropy: bool = False) -> Scores:
    """Log-probabilities of a tree's completions.

    Logits exist for `chunk` completion positions at a time, in the forward pass and, recomputed, in the backward pass:
    peak memory is [B, K, chunk, V] instead of [B, K, R, V].

    Args:
      policy: the model.
      params: its parameters.
      tree: prompts with K completions of R tokens each.
      chunk: completion positions per step; R is padded up to a multiple of it.
      entropy: also return the entropy of each next-token distribution.

    Returns:
      Scores [B, K, R] in float32; 0 where `tree.mask` is 0.
    """
    hidden = policy.hidden(params, tree)  # [B, K, R, D]
    length = hidden.shape[2]
    chunk = min(chunk, length)

    @jax.checkpoint
    def score_chunk(hidden, targets):
        logits = policy.unembed(params, hidden).astype(jnp.float32)  # [B, K, chunk, V]
        log_normaliser = jax.nn.logsumexp(logits, axis=-1)
        target_logits = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
        if not entropy:
            return target_logits - log_normaliser, None
        probs = jnp.exp(logits - log_normaliser[..., None])
        return target_logits - log_normaliser, log_normaliser - jnp.sum(probs * logits, axis=-1)

    def in_chunks(x):  # [B, K, R, ...] -> [R / chunk, B, K, chunk, ...]
        x = jnp.pad(x, [(0, 0), (0, 0), (0, -length % chunk)] + [(0, 0)] * (x.ndim - 3))
        return jnp.moveaxis(x.reshape(*x.shape[:2], -1, chunk, *x.shape[3:]), 2, 0)

    def whole(x):  # [R / chunk, B, K, chunk] -> [B, K, R], 0 where masked
        x = jnp.moveaxis(x, 0, 2)
        return jnp.where(tree.mask > 0, x.reshape(*x.shape[:2], -1)[..., :length], 0.0)

    if chunk == length:
        logps, entropies = score_chunk(hidden, tree.targets)
        logps, entropies = logps[None], None if entropies is None else entropies[None]
    else:
        chunks = in_chunks(hidden), in_chunks(tree.targets)
        _, (logps, entropies) = jax.lax.scan(lambda _, xs: (None, score_chunk(*xs)), None, chunks)
    return Scores(whole(logps), tree.mask, None if entropies is None else whole(entropies))
