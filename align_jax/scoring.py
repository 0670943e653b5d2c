"""From hidden states to log-probabilities, without ever holding the logits of all positions."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from align_jax.types import Params, Policy, PromptTree, Scores


def score(
    policy: Policy, params: Params, tree: PromptTree, *, chunk: int = 128, statistics: Sequence[str] = ()
) -> Scores:
    """Log-probabilities of a tree's completions.

    Logits exist for `chunk` completion positions at a time, in the forward pass and, recomputed, in the backward pass:
    peak memory is [B, K, chunk, V] instead of [B, K, R, V].

    Args:
      policy: the model.
      params: its parameters.
      tree: prompts with K completions of R tokens each.
      chunk: completion positions per step; R is padded up to a multiple of it.
      statistics: further fields of `Scores` to fill, such as "entropy"; "kl" needs two models: see `score_both`.

    Returns:
      Scores [B, K, R] in float32; 0 where `tree.mask` is 0.
    """
    if policy.score is not None:
        return _judged(policy, params, tree, statistics)

    def score_chunk(hidden, targets):
        logits = policy.unembed(params, hidden).astype(jnp.float32)  # [B, K, chunk, V]
        return _read(logits, targets, statistics)

    return Scores(mask=tree.mask, **_in_chunks(score_chunk, tree, chunk, policy.hidden(params, tree)))


def score_both(
    policy: Policy,
    params: Params,
    reference: Params,
    tree: PromptTree,
    *,
    chunk: int = 128,
    statistics: Sequence[str] = ("kl",),
) -> tuple[Scores, Scores]:
    """Scores under a model and under its reference, and the divergence between them at every position.

    Args:
      policy: the model.
      params: its parameters.
      reference: those of the reference; no gradient reaches them.
      tree: as in `score`.
      chunk: as in `score`.
      statistics: as in `score`; "kl" is KL(reference : policy) over the whole vocabulary, in nats, and is put into the
        first of the two results.

    Returns:
      Two Scores [B, K, R].
    """
    if policy.score is not None:
        return tuple(_judged(policy, each, tree, statistics) for each in (params, reference))
    own = tuple(name for name in statistics if name != "kl")
    reference = jax.lax.stop_gradient(reference)

    def score_chunk(hidden, reference_hidden, targets):
        logits = policy.unembed(params, hidden).astype(jnp.float32)
        reference_logits = policy.unembed(reference, reference_hidden).astype(jnp.float32)
        log_probs, reference_log_probs = jax.nn.log_softmax(logits), jax.nn.log_softmax(reference_logits)
        kl = (jnp.exp(reference_log_probs) * (reference_log_probs - log_probs)).sum(-1)
        return _read(logits, targets, own) | {"kl": kl}, _read(reference_logits, targets, own)

    hidden = policy.hidden(params, tree), policy.hidden(reference, tree)
    ours, theirs = _in_chunks(score_chunk, tree, chunk, *hidden)
    return Scores(mask=tree.mask, **ours), Scores(mask=tree.mask, **theirs)


def _read(logits: jax.Array, targets: jax.Array, statistics: Sequence[str]) -> dict[str, jax.Array]:
    """[B, K, chunk] each: log-probabilities and statistics, from logits f32[B, K, chunk, V]."""
    log_normaliser = jax.nn.logsumexp(logits, axis=-1)
    target_logits = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]

    def entropy() -> jax.Array:
        probs = jnp.exp(logits - log_normaliser[..., None])
        return log_normaliser - jnp.sum(probs * logits, axis=-1)

    def rival() -> jax.Array:
        others = 1 - jax.nn.one_hot(targets, logits.shape[-1])
        return jnp.max(logits, axis=-1, where=others > 0, initial=-jnp.inf) - log_normaliser

    known = {
        "entropy": entropy,
        "collision": lambda: jax.nn.logsumexp(2 * logits, axis=-1) - 2 * log_normaliser,
        "logits": lambda: target_logits,
        "rival": rival,
        "top": lambda: jnp.argmax(logits, axis=-1).astype(jnp.int32),
    }
    if unknown := sorted(set(statistics) - set(known)):
        raise ValueError(f"no statistic is called {', '.join(unknown)}; there are: {', '.join(known)}, kl")
    return {"logps": target_logits - log_normaliser} | {name: known[name]() for name in statistics}


def _in_chunks(score_chunk: Callable, tree: PromptTree, chunk: int, *hidden: jax.Array):
    """What `score_chunk(*hidden, targets)` gives for all positions, `chunk` at a time; 0 where masked."""
    length = tree.targets.shape[-1]
    chunk = min(chunk, length)
    score_chunk = jax.checkpoint(score_chunk)

    def cut(x):  # [B, K, R, ...] -> [R / chunk, B, K, chunk, ...]
        x = jnp.pad(x, [(0, 0), (0, 0), (0, -length % chunk)] + [(0, 0)] * (x.ndim - 3))
        return jnp.moveaxis(x.reshape(*x.shape[:2], -1, chunk, *x.shape[3:]), 2, 0)

    def whole(x):  # [R / chunk, B, K, chunk] -> [B, K, R]
        x = jnp.moveaxis(x, 0, 2)
        return x.reshape(*x.shape[:2], -1)[..., :length]

    if chunk == length:
        found = score_chunk(*hidden, tree.targets)
    else:
        chunks = tuple(map(cut, (*hidden, tree.targets)))
        found = jax.tree.map(whole, jax.lax.scan(lambda _, xs: (None, score_chunk(*xs)), None, chunks)[1])
    return jax.tree.map(lambda x: jnp.where(tree.mask > 0, x, jnp.zeros((), x.dtype)), found)


def _judged(policy: Policy, params: Params, tree: PromptTree, statistics: Sequence[str]) -> Scores:
    if statistics:
        raise ValueError(f"a model that judges whole completions has no {', '.join(statistics)} of tokens")
    return policy.score(params, tree)
