import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from align_jax.losses.beta_dpo import Margins, beta_dpo, kept_rows, no_margins
from align_jax.losses.dpo import dpo
from align_jax.types import Pair, PreferenceBatch
from tests import tiny
from tests.losses import cases

MASK = cases.mask()
POLICY, REFERENCE = cases.logps(MASK, 1), cases.logps(MASK, 2)
MEMORY = Margins(jnp.asarray(0.5), jnp.asarray(2.0), jnp.asarray(7))


def run(policy, memory=MEMORY, weight=None, **hyper):
    weight = cases.weight() if weight is None else weight
    batch = PreferenceBatch(tiny.tree(5), jnp.asarray(weight))
    return beta_dpo(cases.pair(policy, MASK), cases.pair(REFERENCE, MASK), batch, memory, **hyper)


def test_hand_derived_value_of_a_first_step():
    # Margins 4 and 8: mean 6, deviation sqrt(8) by n - 1. A tenth of both goes into the averages before their use.
    # beta = 0.1 * (1 + 0.5 * (6 - 0.6)) = 0.37.
    zero = cases.totals(0.0, 0.0)
    mean, metrics, memory = beta_dpo(
        Pair(cases.totals(4.0, 8.0), zero),
        Pair(zero, zero),
        PreferenceBatch(None, jnp.ones(2)),
        no_margins(),
        alpha=0.5,
        filter_ratio=0.0,
    )
    np.testing.assert_allclose([memory.mean, memory.std], [0.6, np.sqrt(8) / 10], rtol=1e-6)
    np.testing.assert_allclose(metrics["beta"].value, 0.37, rtol=1e-6)
    softplus = lambda x: np.log1p(np.exp(-x))  # noqa: E731
    np.testing.assert_allclose(mean.value, (softplus(0.37 * 4) + softplus(0.37 * 8)) / 2, rtol=1e-6)


def margins(policy):
    ratio = (policy - REFERENCE).sum(-1)
    return ratio[0] - ratio[1]


def test_value_gradient_and_memory_equal_the_formula():
    # beta is taken at the point of comparison and not varied: it has no gradient.
    gaps = margins(POLICY.astype(np.float64))[:-1]
    mean = 0.9 * 0.5 + 0.1 * gaps.mean()
    beta = max(0.1 * (1 + 0.2 * (gaps.mean() - mean)), 1e-3)
    assert beta > 1e-3

    def expected(policy):
        return np.log1p(np.exp(-beta * margins(policy)))[:-1].mean()

    def loss(policy):
        return run(policy, alpha=0.2, filter_ratio=0.0)[0].value

    cases.check(loss, expected, POLICY, MASK)
    memory = run(POLICY, filter_ratio=0.0)[2]
    np.testing.assert_allclose([memory.mean, memory.std], [mean, 1.8 + 0.1 * gaps.std(ddof=1)], rtol=1e-5)
    assert memory.step == 8


def test_beta_has_a_floor():
    low = Margins(jnp.asarray(1e4), jnp.asarray(1.0), jnp.asarray(0))
    np.testing.assert_allclose(run(POLICY, low, filter_ratio=0.0)[1]["beta"].value, 1e-3, rtol=1e-6)


def test_without_draw_and_alpha_it_is_dpo():
    plain = dpo(
        cases.pair(POLICY, MASK), cases.pair(REFERENCE, MASK), PreferenceBatch(None, jnp.asarray(cases.weight()))
    )
    np.testing.assert_allclose(run(POLICY, alpha=0.0, filter_ratio=0.0)[0].value, plain[0].value, rtol=1e-6)


def test_only_kept_rows_count():
    # Rows 0 to 3 are real; 3 of them (0.8 * 4, rounded down) are kept, and the beta is theirs.
    mean, metrics, memory = run(POLICY, alpha=0.1)
    gaps = margins(POLICY)
    batch = PreferenceBatch(tiny.tree(5), jnp.asarray(cases.weight()))
    kept = kept_rows(-0.5 * jnp.square((gaps - memory.mean) / memory.std), batch, memory.step, 0.2)
    assert mean.count == kept.sum() == 3 and kept[-1] == 0
    kept = np.asarray(kept) > 0
    beta = 0.1 * (1 + 0.1 * (gaps[kept].mean() - memory.mean))
    np.testing.assert_allclose(metrics["beta"].value, beta, rtol=1e-5)
    np.testing.assert_allclose(mean.value, np.log1p(np.exp(-beta * gaps[kept])).mean(), rtol=1e-5)


@pytest.mark.parametrize("outlier", [-90.0, 90.0])
def test_the_most_unusual_pair_is_left_out(outlier):
    # The averages are those of many batches with margins about 2: the outlier has a weight of exp(-30) or less.
    zero, seen = cases.totals(*[0.0] * 5), Margins(jnp.asarray(2.0), jnp.asarray(1.0), jnp.asarray(0))
    batch = PreferenceBatch(tiny.tree(5), jnp.ones(5))
    for _ in range(5):
        pair = Pair(cases.totals(1.5, 2.5, outlier, 3.0, 1.0), zero)
        mean, _, _ = beta_dpo(pair, Pair(zero, zero), batch, seen, alpha=0.0, beta=1.0)
        softplus = np.log1p(np.exp(-np.array([1.5, 2.5, 3.0, 1.0])))
        np.testing.assert_allclose(mean.value, softplus.mean(), rtol=1e-5)
        seen = dataclasses.replace(seen, step=seen.step + 1)


def test_a_batch_of_one_is_kept():
    one = np.array([1.0, 0, 0, 0, 0], np.float32)
    mean, _, memory = run(POLICY, no_margins(), one)
    assert mean.count == 1 and memory.std == 0 and np.isfinite(mean.value)


def test_padding_rows_change_nothing():
    other = POLICY.copy()
    other[:, -1] = -50
    jax.tree.map(np.testing.assert_array_equal, run(other), run(POLICY))


def draws(steps, log_weight, batch, ratio):
    steps = jnp.arange(steps)
    return jax.jit(jax.vmap(lambda step: kept_rows(log_weight, batch, step, ratio)))(steps)


def test_rows_are_drawn_by_their_weight():
    # One of two rows is kept: the first with probability 3 / 4. 4000 draws, five standard deviations.
    batch = PreferenceBatch(tiny.tree(2), jnp.ones(2))
    kept = draws(4000, jnp.log(jnp.array([3.0, 1.0])), batch, 0.5)
    np.testing.assert_array_equal(kept.sum(1), 1)
    np.testing.assert_allclose(kept[:, 0].mean(), 0.75, atol=5 * np.sqrt(0.75 * 0.25 / 4000))


def test_a_second_row_is_drawn_from_those_that_are_left():
    # Weights 6, 3, 1, two of three kept. The last is kept unless the draw is (0, 1) or (1, 0):
    # 1 - 0.6 * 3 / 4 - 0.3 * 6 / 7.
    batch = PreferenceBatch(tiny.tree(3), jnp.ones(3))
    kept = draws(4000, jnp.log(jnp.array([6.0, 3.0, 1.0])), batch, 1 / 3)
    share = 1 - 0.6 * 3 / 4 - 0.3 * 6 / 7
    np.testing.assert_allclose(kept[:, 2].mean(), share, atol=5 * np.sqrt(share * (1 - share) / 4000))


def test_the_draw_depends_on_the_rows_and_not_on_their_places_or_padding():
    tree, order = tiny.tree(5), np.array([3, 0, 4, 2, 1])
    weight, log_weight = jnp.asarray(cases.weight()), jnp.linspace(-1, 1, 5)
    batch = PreferenceBatch(tree, weight)
    kept = draws(50, log_weight, batch, 0.5)
    moved = draws(50, log_weight[order], jax.tree.map(lambda x: x[order], batch), 0.5)
    np.testing.assert_array_equal(moved, kept[:, order])
    garbage = dataclasses.replace(tree, targets=jnp.where(tree.mask > 0, tree.targets, 9))
    np.testing.assert_array_equal(draws(50, log_weight, PreferenceBatch(garbage, weight), 0.5), kept)
    assert len(np.unique(kept, axis=0)) > 1  # it changes from step to step
