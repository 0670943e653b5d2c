"""The training step: scores -> losses -> gradients -> update. Pure, jitted, and the same for every method."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import optax

from align_jax.losses.base import Objective
from align_jax.scoring import score
from align_jax.train import padding
from align_jax.train.state import TrainState, split_frozen
from align_jax.types import Batch, Mean, Metrics, Params, Policy


def make_evaluate(policy: Policy, objective: Objective, *, chunk: int = 128) -> Callable:
    """`(params, reference, batch) -> (tuple[Mean], metrics)`: an objective's terms on a batch."""

    def evaluate(params: Params, reference: Params | None, batch: Batch) -> tuple[tuple[Mean, ...], Metrics]:
        def scores(params: Params):
            return batch.group(tuple(score(policy, params, tree, chunk=chunk) for tree in batch.trees()))

        if not objective.needs_reference:
            return objective(scores(params), None, batch)
        if reference is None:
            raise ValueError(f"{', '.join(objective.names)} needs a reference: set config.reference to 'frozen'")
        return objective(scores(params), jax.lax.stop_gradient(scores(reference)), batch)

    return evaluate


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
    evaluate = make_evaluate(policy, objective, chunk=chunk)

    def update(state: TrainState, reference: Params | None, batch: Batch) -> tuple[TrainState, Metrics]:
        trained, merge = split_frozen(state.params, frozen)
        parts = split_batch(batch, microbatches)

        def loss(trained, part, counts):
            means, metrics = evaluate(merge(trained), reference, part)
            counts = [mean.count for mean in means] if counts is None else counts
            value = objective.value(means, jax.lax.stop_gradient(counts))
            return value, metrics | padding.shares(part.trees())

        if microbatches == 1:
            (value, metrics), grads = jax.value_and_grad(loss, has_aux=True)(trained, batch, None)
        else:
            # Counts depend on masks alone: the compiler drops the forward pass that they seem to need.
            counts = jax.lax.map(lambda part: [m.count for m in evaluate(state.params, reference, part)[0]], parts)
            counts = [count.sum() for count in counts]

            def add_part(total, part):
                (value, metrics), grads = jax.value_and_grad(loss, has_aux=True)(trained, part, counts)
                return jax.tree.map(jnp.add, total, (value, grads)), metrics

            zeros = jnp.zeros(()), jax.tree.map(jnp.zeros_like, trained)
            (value, grads), metrics = jax.lax.scan(add_part, zeros, parts)
            metrics = jax.tree.map(lambda x: x.sum(0), metrics)

        updates, opt_state = tx.update(grads, state.opt_state, trained)
        params = merge(optax.apply_updates(trained, updates))
        one = jnp.ones(())
        metrics = metrics | {"loss": Mean(value, one), "grad_norm": Mean(optax.tree.norm(grads), one)}
        return TrainState(state.step + 1, params, opt_state), metrics

    return update


def split_batch(batch: Batch, parts: int) -> Batch:
    """[B, ...] -> [parts, B / parts, ...]. Every part takes rows from all over, so that no row leaves its device.

    Raises:
      ValueError: B does not divide.
    """

    def split(x: jax.Array) -> jax.Array:
        if len(x) % parts:
            raise ValueError(f"a batch of {len(x)} rows does not divide into {parts} microbatches")
        return jnp.moveaxis(x.reshape(len(x) // parts, parts, *x.shape[1:]), 1, 0)

    return jax.tree.map(split, batch)
