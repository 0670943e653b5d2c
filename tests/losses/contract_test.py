"""What every registered loss must keep, whoever wrote it. A new file in losses/ is tested here without being named."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from align_jax import losses, sharding
from align_jax.data.pack import TreePacker
from align_jax.models import mllm
from align_jax.train import state as train_state
from align_jax.train.step import make_evaluate, make_update
from align_jax.types import Scores, Tiles
from tests import tiny

ROWS = 8


def batch_of(objective, examples, rows: int = ROWS):
    empty = Tiles(np.zeros((0, 8, 8, 3), np.float32))
    packer = TreePacker(rows, prompt_length=12, completion_length=8, pad_id=0, empty=empty, items=1)
    return jax.tree.map(jnp.asarray, objective.batch.pack(examples, packer))


@pytest.fixture(scope="module", params=losses.names())
def case(request):
    """An objective, and its jitted value and gradients, compiled once for all facts below."""
    objective = losses.Objective.build({"name": request.param})
    evaluate = make_evaluate(tiny.policy(), objective)

    def loss(params, reference, batch):
        means, metrics = evaluate(params, reference, batch)
        return objective.value(means, [m.count for m in means]), (means, metrics)

    return objective, jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))


def models():
    return tiny.params(0), tiny.params(1)


def assert_close(a, b, tolerance=1e-5):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance), a, b)


def test_value_and_gradient_are_finite_float32(case):
    objective, grad = case
    (value, (means, metrics)), (grads, _) = grad(*models(), batch_of(objective, tiny.examples(ROWS)))
    assert value.dtype == jnp.float32 and value.shape == ()
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves((means, metrics)))
    assert jax.tree.all(jax.tree.map(lambda x: jnp.isfinite(x).all(), (value, metrics, grads)))
    assert optax.tree.norm(grads) > 0


def test_empty_masks_give_zero_gradient_and_no_nan(case):
    objective, grad = case
    batch = batch_of(objective, tiny.examples(ROWS))
    batch = dataclasses.replace(batch, weight=jnp.zeros_like(batch.weight))
    (value, _), (grads, _) = grad(*models(), batch)
    assert value == 0 and optax.tree.norm(grads) == 0


def test_padding_rows_and_tokens_change_nothing(case):
    objective, grad = case
    examples = tiny.examples(ROWS - 3)
    batch = batch_of(objective, examples)
    garbage = jax.tree.map(lambda x: x.at[ROWS - 3 :].set(jnp.ones((), x.dtype)), batch)
    garbage = dataclasses.replace(garbage, weight=batch.weight)

    def fill_padding(tree):
        prompt = jnp.where(tree.prompt_mask > 0, tree.prompt, 7)
        targets = jnp.where(tree.mask > 0, tree.targets, 9)
        return dataclasses.replace(tree, prompt=prompt, targets=targets)

    is_tree = lambda x: isinstance(x, type(batch.tree))  # noqa: E731
    filled = jax.tree.map(lambda x: fill_padding(x) if is_tree(x) else x, garbage, is_leaf=is_tree)
    assert_close(grad(*models(), batch), grad(*models(), filled))


def test_order_of_rows_changes_nothing(case):
    objective, grad = case
    batch = batch_of(objective, tiny.examples(ROWS))
    order = np.random.default_rng(0).permutation(ROWS)
    assert_close(grad(*models(), batch), grad(*models(), jax.tree.map(lambda x: x[order], batch)))


def test_jit_equals_eager(case):
    objective, _ = case
    batch = batch_of(objective, tiny.examples(ROWS))
    rng = np.random.default_rng(0)

    def scores():
        return batch.group(
            tuple(Scores(jnp.asarray(-rng.exponential(size=t.mask.shape)) * t.mask, t.mask) for t in batch.trees())
        )

    policy, reference = scores(), scores()
    assert_close(objective(policy, reference, batch), jax.jit(objective)(policy, reference, batch), 1e-6)


def test_gradient_does_not_reach_the_reference(case):
    objective, grad = case
    _, (grads, reference_grads) = grad(*models(), batch_of(objective, tiny.examples(ROWS)))
    assert optax.tree.norm(grads) > 0 and optax.tree.norm(reference_grads) == 0


def update_once(objective, batch, microbatches=1, mesh=None):
    # SGD: Adam would blow rounding of tiny gradients up.
    tx = optax.sgd(1.0)
    params, reference = (jax.tree.map(jnp.copy, p) for p in models())
    state = train_state.create(params, tx)
    update = make_update(tiny.policy(), objective, tx, microbatches=microbatches)
    if mesh is None:
        return jax.jit(update)(state, reference, batch)
    with jax.set_mesh(mesh):
        where = train_state.state_shardings(mesh, state, mllm.rules(tiny.CONFIG), ())
        state, reference = jax.device_put(state, where), jax.device_put(reference, where.params)
        return jax.jit(update, out_shardings=(where, None))(state, reference, sharding.to_mesh(mesh, batch))


def check_update(case, rows, **how):
    """One update equals the parameters minus the gradient of the whole batch, and reports the same metrics."""
    objective, grad = case
    batch = batch_of(objective, tiny.examples(rows))
    (value, (_, metrics)), (grads, _) = grad(*models(), batch)
    state, reported = jax.device_get(update_once(objective, batch, **how))
    assert_close(state.params, jax.tree.map(jnp.subtract, models()[0], grads), 2e-5)
    np.testing.assert_allclose(reported["loss"].value, value, rtol=1e-5)
    assert_close({k: v.value for k, v in metrics.items()}, {k: reported[k].value for k in metrics}, 1e-4)
    np.testing.assert_allclose(reported["grad_norm"].value, optax.tree.norm(grads), rtol=1e-4)


def test_four_microbatches_equal_one(case):
    # One row is padding and completions are ragged, so that the parts hold unequal counts.
    check_update(case, ROWS - 1, microbatches=4)


def test_a_mesh_of_eight_devices_equals_one(case):
    check_update(case, ROWS, mesh=sharding.make_mesh(data=2, fsdp=2, tensor=2))
