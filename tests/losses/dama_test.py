import jax
import jax.numpy as jnp
import numpy as np
import pytest

from align_jax.losses.beta_dpo import kept_rows
from align_jax.losses.dama import AverageMargin, ClipGapBatch, dama, no_margin
from align_jax.types import Pair
from tests import tiny
from tests.losses import cases

MASK = cases.mask()
POLICY, REFERENCE = cases.logps(MASK, 1, 1.0), cases.logps(MASK, 2, 1.0)
GAP = np.array([0.3, -0.2, 0.05, 0.0, 99.0], np.float32)
MEMORY = AverageMargin(jnp.asarray(0.5), jnp.asarray(7))


def sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x, np.float64)))


def batch():
    return ClipGapBatch(tiny.tree(5), jnp.asarray(cases.weight()), {"clip_gap": jnp.asarray(GAP)})


def run(policy, memory=MEMORY, **hyper):
    return dama(cases.pair(policy, MASK), cases.pair(REFERENCE, MASK), batch(), memory, **hyper)


def test_hand_derived_value_of_two_steps():
    # The average is 0, whose sigmoid is 1/2. Margin log 3: sigmoid 3/4, a factor of 3/2. Gap log 3 against a mean gap
    # of 0: 3/2 again. beta = 0.1 * 9/4; only then the average becomes log(3) / 10.
    zero, gap = cases.totals(0.0), {"clip_gap": jnp.log(jnp.array([3.0]))}
    pair, reference = Pair(cases.totals(np.log(3)), zero), Pair(zero, zero)
    one = ClipGapBatch(None, jnp.ones(1), gap)
    mean, metrics, memory = dama(pair, reference, one, no_margin(), mean_gap=0.0, filter_ratio=0.0)
    np.testing.assert_allclose(metrics["beta"].value, 0.225, rtol=1e-6)
    np.testing.assert_allclose(mean.value, np.log1p(3**-0.225), rtol=1e-6)
    np.testing.assert_allclose(memory.mean, np.log(3) / 10, rtol=1e-6)
    _, metrics, memory = dama(pair, reference, one, memory, mean_gap=0.0, filter_ratio=0.0)
    np.testing.assert_allclose(metrics["beta"].value, 0.1 * 1.5 * 0.75 / sigmoid(np.log(3) / 10), rtol=1e-6)
    np.testing.assert_allclose(memory.mean, 0.19 * np.log(3), rtol=1e-6)
    assert memory.step == 2


def margins(policy):
    ratio = (policy - REFERENCE).sum(-1)
    return ratio[0] - ratio[1]


def test_value_and_gradient_equal_the_formula():
    # beta is taken at the point of comparison and not varied: it has no gradient.
    gaps = margins(POLICY.astype(np.float64))[:-1]
    beta = 0.1 * sigmoid(GAP[:-1]) / sigmoid(0.0482190464911681) * sigmoid(gaps).mean() / sigmoid(0.5)

    def expected(policy):
        return np.log1p(np.exp(-beta * margins(policy)[:-1])).mean()

    cases.check(lambda policy: run(policy, filter_ratio=0.0)[0].value, expected, POLICY, MASK)
    np.testing.assert_allclose(run(POLICY)[2].mean, 0.45 + 0.1 * gaps.mean(), rtol=1e-5)


def test_the_draw_is_not_divided_by_a_deviation_and_counts_in_model_factor_and_loss():
    mean, metrics, _ = run(POLICY)
    gaps = margins(POLICY)
    kept = np.asarray(kept_rows(-0.5 * jnp.square(gaps - 0.5), batch(), MEMORY.step, 0.2)) > 0
    assert mean.count == kept.sum() == 3
    beta = 0.1 * sigmoid(GAP) / sigmoid(0.0482190464911681) * sigmoid(gaps[kept]).mean() / sigmoid(0.5)
    np.testing.assert_allclose(mean.value, np.log1p(np.exp(-beta * gaps))[kept].mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["beta"].value, beta[:-1].mean(), rtol=1e-5)


@pytest.mark.parametrize("outlier", [-90.0, 90.0])
def test_the_most_unusual_pair_is_left_out(outlier):
    # Its weight is exp(-0.5 * 88 ** 2) or less, which float32 does not hold, and neither would a draw from weights.
    zero, seen = cases.totals(*[0.0] * 5), AverageMargin(jnp.asarray(2.0), jnp.asarray(0))
    pairs = ClipGapBatch(tiny.tree(5), jnp.ones(5), {"clip_gap": jnp.zeros(5)})
    pair = Pair(cases.totals(1.5, 2.5, outlier, 3.0, 1.0), zero)
    mean, metrics, _ = dama(pair, Pair(zero, zero), pairs, seen, beta=1.0, mean_gap=0.0)
    gaps = np.array([1.5, 2.5, 3.0, 1.0])
    beta = sigmoid(gaps).mean() / sigmoid(2.0)
    np.testing.assert_allclose(metrics["beta"].value, beta, rtol=1e-5)
    np.testing.assert_allclose(mean.value, np.log1p(np.exp(-beta * gaps)).mean(), rtol=1e-5)


def test_beta_has_a_floor():
    np.testing.assert_allclose(run(POLICY, beta=1e-6)[1]["beta"].value, 1e-3, rtol=1e-6)


def test_padding_rows_change_nothing():
    other = POLICY.copy()
    other[:, -1] = -50
    jax.tree.map(np.testing.assert_array_equal, run(other), run(POLICY))
