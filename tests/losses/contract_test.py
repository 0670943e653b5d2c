"""What every registered loss must keep, whoever wrote it. A new file in losses/ is tested here without being named.

The losses see scores, so that no model is compiled for each of them; tests/train/step_test.py has the model.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from align_jax import losses, sharding
from align_jax.data.pack import TreePacker
from align_jax.losses.texts import PairsAndTextsBatch
from align_jax.train.step import judge, split_batch
from align_jax.types import PromptTree, Scores, Tiles
from tests import tiny

ROWS, PADDING = 8, 3
STATISTICS = ("collision", "entropy", "logits", "rival", "top")


def batch_of(objective, examples, rows: int = ROWS):
    if issubclass(objective.batch, PairsAndTextsBatch):  # every third one is a plain text
        plain = lambda e: dataclasses.replace(e, completions={"chosen": e.completions["chosen"]})  # noqa: E731
        examples = [plain(example) if i % 3 == 1 else example for i, example in enumerate(examples)]
    empty = Tiles(np.zeros((0, 8, 8, 3), np.float32))
    packer = TreePacker(rows, prompt_length=12, completion_length=8, pad_id=0, empty=empty, items=1)
    return jax.tree.map(jnp.asarray, objective.batch.pack(examples, packer))


def scores_of(objective, tree, seed: int) -> Scores:
    """As a model would give them: the same row and completion always score the same, wherever they stand."""
    rng = np.random.default_rng(seed)
    table = {name: jnp.asarray(-rng.exponential(1.5, (tiny.VOCAB, 8)), jnp.float32) for name in ("logps", *STATISTICS)}
    view = 0.1 * jnp.tanh(tree.media.pixels.sum((1, 2, 3, 4)))[:, None, None]  # pictures matter

    def read(name):
        values = table[name][tree.targets, jnp.arange(tree.targets.shape[-1])] - jnp.abs(view)
        values = {"entropy": -values, "top": (-9 * values).astype(jnp.int32) % tiny.VOCAB}.get(name, values)
        return jnp.where(tree.mask > 0, values, 0)

    found = {name: read(name) for name in STATISTICS if name in objective.statistics}
    if "kl" in objective.statistics:
        found["kl"] = -read("collision")
    return Scores(read("logps"), tree.mask, **found)


def prepared(objective, batch):
    """Batches for policy and reference, as the step makes them, and their scores."""
    look = [functools.partial(scores_of, objective, seed=seed) for seed in (1, 2)]
    batches = objective.prepare(batch, *look)
    return batches, *(tuple(map(f, b.trees())) for f, b in zip(look, batches, strict=True))


@pytest.fixture(scope="module", params=losses.names())
def case(request):
    """An objective; its jitted value and gradients to the scores, compiled once for all facts below."""
    objective = losses.Objective.build({"name": request.param})

    def value(policy, reference, batch):
        # A third step: what the loss remembers is not what it began with.
        memory = objective.memory()
        for _ in range(2 if memory else 0):
            memory = judge(objective, policy, reference, batch, memory)[2]
        means, metrics, memory = judge(objective, policy, reference, batch, jax.lax.stop_gradient(memory))
        return objective.value(means, [m.count for m in means]), (means, metrics, memory)

    grad = jax.value_and_grad(value, argnums=(0, 1), has_aux=True, allow_int=True)
    return objective, jax.jit(grad)


def run(case, batch):
    objective, grad = case
    (_, batch), policy, reference = prepared(objective, batch)
    return grad(policy, reference, batch)


def assert_close(a, b, tolerance=1e-5):
    jax.tree.map(
        lambda x, y: x.dtype == jax.dtypes.float0 or np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance),
        a,
        b,
    )


def norm(grads) -> float:
    return sum(float(jnp.abs(x).sum()) for x in jax.tree.leaves(grads) if x.dtype != jax.dtypes.float0)


def test_value_and_gradient_are_finite_float32(case):
    (value, (means, metrics, memory)), (grads, _) = run(case, batch_of(case[0], tiny.examples(ROWS)))
    assert value.dtype == jnp.float32 and value.shape == ()
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves((means, metrics)))
    assert all(jnp.isfinite(x).all() for x in jax.tree.leaves((value, metrics, memory)))
    assert 0 < norm(grads) < np.inf


def test_rows_of_weight_zero_give_zero_gradient_and_no_nan(case):
    batch = batch_of(case[0], tiny.examples(ROWS))
    silent = batch_of(case[0], [])
    batch = jax.tree.map(lambda full, empty, at: empty if at else full, batch, silent, silent_fields(batch))
    (value, (_, metrics, memory)), (grads, _) = run(case, batch)
    assert value == 0 and norm(grads) == 0
    assert all(jnp.isfinite(x).all() for x in jax.tree.leaves((metrics, memory)))


def silent_fields(batch):
    """True for weights and other marks of presence, False for trees: rows that count no more, but hold something."""
    is_tree = lambda x: isinstance(x, PromptTree)  # noqa: E731
    return jax.tree.map(lambda x: jax.tree.map(lambda _: False, x) if is_tree(x) else True, batch, is_leaf=is_tree)


def test_padding_rows_and_tokens_change_nothing(case):
    batch = batch_of(case[0], tiny.examples(ROWS - PADDING))
    real = np.arange(ROWS) < ROWS - PADDING

    def fill(tree):
        """Tokens in place of padding: of rows that do not count, also masks and pictures."""
        inside = lambda mask: (mask > 0) | ~real.reshape(-1, *[1] * (mask.ndim - 1))  # noqa: E731
        rows = lambda x: jnp.where(real.reshape(-1, *[1] * (x.ndim - 1)), x, jnp.ones((), x.dtype))  # noqa: E731
        targets = jnp.where(inside(tree.mask) & (tree.mask > 0), tree.targets, 9)
        media = jax.tree.map(rows, tree.media)
        return dataclasses.replace(tree, targets=targets, tokens=rows(tree.tokens), mask=rows(tree.mask), media=media)

    is_tree = lambda x: isinstance(x, PromptTree)  # noqa: E731
    filled = jax.tree.map(lambda x: fill(x) if is_tree(x) else x, batch, is_leaf=is_tree)
    (value, aux), (grads, _) = run(case, batch)
    (other, other_aux), (other_grads, _) = run(case, filled)
    assert_close((value, aux), (other, other_aux))
    assert_close(*(jax.tree.map(lambda x: x[real], g) for g in (grads, other_grads)))
    assert norm(jax.tree.map(lambda x: x[~real], other_grads)) == 0


def test_order_of_rows_changes_nothing(case):
    batch = batch_of(case[0], tiny.examples(ROWS))
    order = np.random.default_rng(0).permutation(ROWS)
    (value, aux), (grads, _) = run(case, batch)
    turned_value, (turned, _) = run(case, jax.tree.map(lambda x: x[order], batch))
    assert_close((value, aux), turned_value)
    assert_close(jax.tree.map(lambda x: x[order], grads), turned)


def test_jit_equals_eager(case):
    objective, _ = case
    batch = batch_of(objective, tiny.examples(ROWS))
    (_, batch), policy, reference = prepared(objective, batch)
    judged = lambda *scores: judge(objective, *scores, batch, objective.memory())  # noqa: E731
    assert_close(judged(policy, reference), jax.jit(judged)(policy, reference), 2e-6)


def test_microbatches_add_up_to_the_batch(case):
    """Sums over parts are sums over the batch, unless the loss says that its rows are coupled."""
    objective, _ = case
    if objective.coupled:
        pytest.skip("is given the whole batch: see tests/train/step_test.py")
    batch = batch_of(objective, tiny.examples(ROWS - 1))  # ragged, and the last part has a row of padding
    means, metrics, _ = judge(objective, *scored(objective, batch), batch, {})
    parts = split_batch(batch, 4)
    total = None
    for i in range(4):
        part = jax.tree.map(lambda x, i=i: x[i], parts)
        found = judge(objective, *scored(objective, part), part, {})[:2]
        total = found if total is None else jax.tree.map(jnp.add, total, found)
    assert_close((means, metrics), total, 2e-5)


def scored(objective, batch):
    _, policy, reference = prepared(objective, batch)
    return policy, reference


def test_a_mesh_of_eight_devices_equals_one(case):
    objective, grad = case
    (_, batch), policy, reference = prepared(objective, batch_of(objective, tiny.examples(ROWS)))
    mesh = sharding.make_mesh(data=2, fsdp=2, tensor=2)
    with jax.set_mesh(mesh):
        spread = sharding.to_mesh(mesh, jax.device_get((policy, reference, batch)))
        found = grad(*spread)
    assert_close(grad(policy, reference, batch), found)
