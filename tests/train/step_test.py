"""The step with a model: what tests/losses/contract_test.py checks on scores, for one objective of each kind."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from align_jax import sharding
from align_jax.losses import Objective
from align_jax.models import mllm
from align_jax.train import state as train_state
from align_jax.train.step import make_update
from tests import tiny
from tests.losses.contract_test import ROWS, assert_close, batch_of

KINDS = {
    "a mixture": [{"name": "dpo"}, {"name": "chosen_nll", "weight": 0.5}],
    "coupled rows, and a memory": {"name": "bco"},
    "two trees, and divergence of whole distributions": {"name": "chip"},
    "trees that depend on the model": {"name": "povid"},
}


@pytest.fixture(scope="module", params=KINDS)
def case(request):
    """An objective, and its jitted value and gradients."""
    objective = Objective.build(KINDS[request.param])
    evaluate = tiny.evaluate(objective)

    def loss(params, reference, batch):
        means, metrics, memory = evaluate(params, reference, batch, objective.memory())
        return objective.value(means, [m.count for m in means]), (metrics, memory)

    return objective, jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))


def models():
    return tiny.params(0), tiny.params(1)


def test_gradient_does_not_reach_the_reference(case):
    objective, grad = case
    _, (grads, of_reference) = grad(*models(), batch_of(objective, tiny.examples(ROWS)))
    assert optax.tree.norm(grads) > 0 and optax.tree.norm(of_reference) == 0


def test_padding_tokens_of_prompts_and_completions_change_nothing(case):
    objective, grad = case
    batch = batch_of(objective, tiny.examples(ROWS - 1))

    def fill(tree):
        prompt = jnp.where(tree.prompt_mask > 0, tree.prompt, 7)
        tokens, targets = (jnp.where(tree.mask > 0, x, 9) for x in (tree.tokens, tree.targets))
        # The first token is the last of the prompt, also for a completion that is not there.
        tokens = tokens.at[:, :, 0].set(tree.tokens[:, :, 0])
        return type(tree)(prompt, tree.prompt_mask, tree.media, tokens, targets, tree.mask)

    is_tree = lambda x: isinstance(x, type(batch.trees()[0]))  # noqa: E731
    filled = jax.tree.map(lambda x: fill(x) if is_tree(x) else x, batch, is_leaf=is_tree)
    assert_close(grad(*models(), batch), grad(*models(), filled))


def update_once(objective, batch, microbatches=1, mesh=None):
    # SGD: Adam would blow rounding of tiny gradients up.
    tx = optax.sgd(1.0)
    params, reference = (jax.tree.map(jnp.copy, p) for p in models())
    state = train_state.create(params, tx, memory=objective.memory())
    update = make_update(tiny.policy(), objective, tx, microbatches=microbatches)
    if mesh is None:
        return jax.jit(update)(state, reference, batch)
    with jax.set_mesh(mesh):
        where = train_state.state_shardings(mesh, state, mllm.rules(tiny.CONFIG), ())
        state, reference = jax.device_put(state, where), jax.device_put(reference, where.params)
        return jax.jit(update, out_shardings=(where, None))(state, reference, sharding.to_mesh(mesh, batch))


def check_update(case, rows, **how):
    """One update equals the parameters minus the gradient of the whole batch, and reports and remembers the same."""
    objective, grad = case
    batch = batch_of(objective, tiny.examples(rows))
    (value, (metrics, memory)), (grads, _) = grad(*models(), batch)
    state, reported = jax.device_get(update_once(objective, batch, **how))
    assert_close(state.params, jax.tree.map(jnp.subtract, models()[0], grads), 2e-5)
    assert_close(state.memory, memory, 1e-5)
    np.testing.assert_allclose(reported["loss"].value, value, rtol=1e-5)
    assert_close({k: v.value for k, v in metrics.items()}, {k: reported[k].value for k in metrics}, 1e-4)
    np.testing.assert_allclose(reported["grad_norm"].value, optax.tree.norm(grads), rtol=1e-4)


def test_four_microbatches_equal_one(case):
    # One row is padding and completions are ragged, so that the parts hold unequal counts.
    check_update(case, ROWS - 1, microbatches=4)


@pytest.mark.parametrize("case", ["a mixture", "two trees, and divergence of whole distributions"], indirect=True)
def test_a_mesh_of_eight_devices_equals_one(case):
    check_update(case, ROWS, mesh=sharding.make_mesh(data=2, fsdp=2, tensor=2))
