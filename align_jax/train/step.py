"""The training step: scores -> losses -> gradients -> update. Pure, jitted, and the same for every method."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from align_jax.losses.base import Objective
from align_jax.scoring import score, score_both
from align_jax.train import padding
from align_jax.train.state import TrainState, split_frozen
from align_jax.types import Batch, Mean, Metrics, Params, Policy, Scores


def make_scores(policy: Policy, objective: Objective, *, chunk: int = 128) -> Callable:
    """`(params, reference, batch) -> (scores, scores or None)`: of all trees of a batch, under both models.

    No gradient reaches the reference.
    """
    statistics = tuple(name for name in objective.statistics if name != "kl")

    def scores(params: Params, reference: Params | None, batch: Batch):
        if objective.needs_reference and reference is None:
            raise ValueError(f"{', '.join(objective.names)} needs a reference: set config.reference to 'frozen'")
        reference = jax.lax.stop_gradient(reference) if objective.needs_reference else None

        def under(params: Params) -> Callable:
            return lambda tree: score(policy, params, tree, chunk=chunk, statistics=statistics)

        fixed = under(jax.lax.stop_gradient(params))
        ours, theirs = objective.prepare(batch, fixed, None if reference is None else under(reference))
        if "kl" in objective.statistics:
            how = dict(chunk=chunk, statistics=objective.statistics)
            both = [score_both(policy, params, reference, tree, **how) for tree in ours.trees()]
            return tuple(map(tuple, zip(*both, strict=True)))
        found = tuple(map(under(params), ours.trees()))
        return found, None if reference is None else tuple(map(under(reference), theirs.trees()))

    return scores


def judge(objective: Objective, scores: tuple, reference: tuple | None, batch: Batch, memory: Mapping[str, Any]):
    """An objective's `(means, metrics, memory)` from the scores of a batch's trees."""
    return objective(batch.group(scores), None if reference is None else batch.group(reference), batch, memory)


def make_update(
    policy: Policy,
    objective: Objective,
    tx: optax.GradientTransformation,
    *,
    frozen: Sequence[str] = (),
    microbatches: int = 1,
    chunk: int = 128,
) -> Callable[[TrainState, Params | None, Batch], tuple[TrainState, Metrics]]:
    """`(state, reference, batch) -> (state, metrics)`, to be jitted.

    Args:
      policy: the model.
      objective: what is minimised.
      tx: the optimizer.
      frozen: patterns of parameter paths that get neither gradient nor optimizer state, nor a backward pass.
      microbatches: parts that a batch is cut into to save memory. Every term of the objective is divided by its count
        over the whole batch, so the gradient is that of the whole batch, however ragged the parts are.
      chunk: completion positions that are scored at a time.
    """
    gradient = _whole if microbatches == 1 else _coupled if objective.coupled else _separate
    gradient = gradient(objective, make_scores(policy, objective, chunk=chunk), microbatches)

    def update(state: TrainState, reference: Params | None, batch: Batch) -> tuple[TrainState, Metrics]:
        trained, merge = split_frozen(state.params, frozen)
        value, metrics, memory, grads = gradient(trained, merge, reference, batch, state.memory)
        updates, opt_state = tx.update(grads, state.opt_state, trained)
        params = merge(optax.apply_updates(trained, updates))
        one = jnp.ones(())
        metrics = metrics | padding.shares(batch.trees())
        metrics = metrics | {"loss": Mean(value, one), "grad_norm": Mean(optax.tree.norm(grads), one)}
        return TrainState(state.step + 1, params, opt_state, memory), metrics

    return update


def _whole(objective: Objective, scores: Callable, _: int) -> Callable:
    """Value, metrics, memory and gradient of a batch in one piece."""

    def gradient(trained, merge, reference, batch, memory):
        def loss(trained):
            means, metrics, after = judge(objective, *scores(merge(trained), reference, batch), batch, memory)
            return objective.value(means, jax.lax.stop_gradient([m.count for m in means])), (metrics, after)

        (value, (metrics, after)), grads = jax.value_and_grad(loss, has_aux=True)(trained)
        return value, metrics, after, grads

    return gradient


def _separate(objective: Objective, scores: Callable, microbatches: int) -> Callable:
    """The same, part by part: for losses that add up over rows."""

    def gradient(trained, merge, reference, batch, memory):
        parts = split_batch(batch, microbatches)

        def terms(trained, part):
            return judge(objective, *scores(merge(trained), reference, part), part, memory)

        # Counts depend on masks alone: the compiler drops the forward pass that they seem to need.
        counts = jax.lax.map(lambda part: [mean.count for mean in terms(trained, part)[0]], parts)
        counts = [count.sum() for count in counts]

        def loss(trained, part):
            means, metrics, _ = terms(trained, part)
            return objective.value(means, jax.lax.stop_gradient(counts)), metrics

        def add_part(total, part):
            (value, metrics), grads = jax.value_and_grad(loss, has_aux=True)(trained, part)
            return jax.tree.map(jnp.add, total, (value, grads)), metrics

        zeros = jnp.zeros(()), jax.tree.map(jnp.zeros_like, trained)
        (value, grads), metrics = jax.lax.scan(add_part, zeros, parts)
        return value, jax.tree.map(lambda x: x.sum(0), metrics), memory, grads

    return gradient


def _coupled(objective: Objective, scores: Callable, microbatches: int) -> Callable:
    """The same for losses whose rows depend on each other: one more forward pass, and still exact.

    Scores of all parts are computed first, and the loss of the whole batch is taken back to them; then each part takes
    its share back to the parameters (gradient caching, Gao et al. 2021, https://arxiv.org/abs/2101.06983).
    """

    def gradient(trained, merge, reference, batch, memory):
        parts = split_batch(batch, microbatches)
        ours, theirs = jax.lax.map(lambda part: scores(merge(trained), reference, part), parts)
        theirs = join_batch(theirs)

        def loss(ours):
            means, metrics, after = judge(objective, ours, theirs, batch, memory)
            return objective.value(means, jax.lax.stop_gradient([m.count for m in means])), (metrics, after)

        (value, (metrics, after)), of_scores = jax.value_and_grad(loss, has_aux=True)(_floats(join_batch(ours)))

        def add_part(total, part):
            part, cotangent = part
            _, back = jax.vjp(lambda trained: _floats(scores(merge(trained), reference, part)[0]), trained)
            return jax.tree.map(jnp.add, total, back(cotangent)[0]), None

        zeros = jax.tree.map(jnp.zeros_like, trained)
        grads, _ = jax.lax.scan(add_part, zeros, (parts, split_batch(of_scores, microbatches)))
        return value, metrics, after, grads

    return gradient


def _floats(scores: tuple[Scores, ...]) -> tuple[Scores, ...]:
    """Scores without the ids of tokens, which have no gradient."""
    return jax.tree.map(lambda x: x if jnp.issubdtype(x.dtype, jnp.floating) else None, scores)


def split_batch(batch: Any, parts: int) -> Any:
    """[B, ...] -> [parts, B / parts, ...]. Every part takes rows from all over, so that no row leaves its device.

    Raises:
      ValueError: B does not divide.
    """

    def split(x: jax.Array) -> jax.Array:
        if len(x) % parts:
            raise ValueError(f"a batch of {len(x)} rows does not divide into {parts} microbatches")
        return jnp.moveaxis(x.reshape(len(x) // parts, parts, *x.shape[1:]), 1, 0)

    return jax.tree.map(split, batch)


def join_batch(parts: Any) -> Any:
    """[parts, B / parts, ...] -> [B, ...]: undoes `split_batch`."""
    return jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1).reshape(-1, *x.shape[2:]), parts)
