from itertools import permutations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from align_jax.losses.aot import aot
from align_jax.losses.aot_unpaired import aot_unpaired
from align_jax.losses.dpo import dpo
from align_jax.types import Pair, PreferenceBatch
from tests.losses import cases


def run(loss, policy, reference, mask, weight, **hyper):
    batch = PreferenceBatch(None, jnp.asarray(weight))
    return loss(cases.pair(policy, mask), cases.pair(reference, mask), batch, **hyper)


def softplus(x):
    return np.log1p(np.exp(x))


def test_hand_derived_value_paired():
    # Log-odds of the policy 3, 1 and of the reference 0, 2: sorted 1, 3 against 0, 2, so both margins are 1. Pair by
    # pair they would be 3 and -1.
    policy = Pair(cases.totals(-1.0, -1.0), cases.totals(-4.0, -2.0))
    reference = Pair(cases.totals(-5.0, -1.0), cases.totals(-5.0, -3.0))
    mean, metrics = aot(policy, reference, PreferenceBatch(None, jnp.ones(2)), beta=0.5)
    np.testing.assert_allclose(mean.value, softplus(-0.5), rtol=1e-6)
    assert metrics["rewards/margins"].value == 0.5 * (3 - 1) / 2 and metrics["rewards/accuracies"].value == 0.5


def test_hand_derived_value_unpaired():
    # Log-ratios of chosen 1, 5 and of rejected 4, 0: sorted 1, 5 against 0, 4, so both margins are 1, not -3 and 5.
    policy = Pair(cases.totals(-1.0, -1.0), cases.totals(-2.0, -3.0))
    reference = Pair(cases.totals(-2.0, -6.0), cases.totals(-6.0, -3.0))
    mean, _ = aot_unpaired(policy, reference, PreferenceBatch(None, jnp.ones(2)), beta=0.5)
    np.testing.assert_allclose(mean.value, softplus(-0.5), rtol=1e-6)


@pytest.mark.parametrize("loss", [aot, aot_unpaired])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
def test_value_and_gradient_equal_the_optimal_transport(loss, label_smoothing):
    # Over one dimension and a convex cost, sorting is the cheapest of all couplings: compare with all permutations.
    mask, weight = cases.mask(), np.array([1, 0, 1, 1, 0], np.float32)
    policy, reference = cases.logps(mask), cases.logps(mask, seed=2)
    beta, rows = 0.1, np.flatnonzero(weight)

    def expected(p):
        totals, bounds = p.sum(-1)[:, rows], reference.astype(np.float64).sum(-1)[:, rows]
        if loss is aot:
            better, worse = totals[0] - totals[1], bounds[0] - bounds[1]
        else:
            better, worse = totals - bounds

        def cost(z):
            return ((1 - label_smoothing) * softplus(-beta * z) + label_smoothing * softplus(beta * z)).mean()

        return min(cost(better - worse[list(order)]) for order in permutations(range(len(rows))))

    def value(p):
        return run(loss, p, reference, mask, weight, beta=beta, label_smoothing=label_smoothing)[0].value

    cases.check(value, expected, policy, mask)


@pytest.mark.parametrize("loss", [aot, aot_unpaired])
@pytest.mark.parametrize("filler", [-1000.0, 0.0, 1000.0])
def test_padding_rows_do_not_enter_the_sort(loss, filler):
    # Of any size on either side: small ones would come first, large ones last, and shift all that they pass.
    mask = cases.mask()
    policy, reference = cases.logps(mask), cases.logps(mask, seed=2)
    weight = np.array([1, 0, 1, 1, 0], np.float32)
    kept = np.flatnonzero(weight)
    expected = run(loss, policy[:, kept], reference[:, kept], mask[:, kept], np.ones(3))[0]
    policy, reference = policy.copy(), reference.copy()
    policy[0, weight == 0] = filler
    reference[1, weight == 0] = filler
    got, gradient = jax.value_and_grad(lambda p: run(loss, p, reference, mask, weight)[0].value)(jnp.asarray(policy))
    np.testing.assert_allclose(got, expected.value, rtol=1e-6)
    assert (gradient[:, weight == 0] == 0).all() and (gradient[:, weight > 0] != 0).any()
    assert run(loss, policy, reference, mask, weight)[0].count == expected.count == 3


@pytest.mark.parametrize("loss", [aot, aot_unpaired])
def test_a_batch_of_one_is_dpo(loss):
    mask, weight = cases.mask(), np.array([0, 0, 1, 0, 0], np.float32)
    policy, reference = cases.logps(mask), cases.logps(mask, seed=2)
    expected = run(dpo, policy, reference, mask, weight)[0].value
    np.testing.assert_allclose(run(loss, policy, reference, mask, weight)[0].value, expected, rtol=1e-5)


def test_unpaired_does_not_read_which_completions_belong_together():
    mask = cases.mask()
    policy, reference = cases.logps(mask), cases.logps(mask, seed=2)
    order = np.array([3, 1, 4, 0, 2])
    mixed = [np.stack([x[0], x[1][order]]) for x in (policy, reference, mask)]
    values = [run(aot_unpaired, *x, np.ones(5))[0].value for x in ((policy, reference, mask), mixed)]
    np.testing.assert_allclose(*values, rtol=1e-6)
    assert not np.isclose(*[run(dpo, *x, np.ones(5))[0].value for x in ((policy, reference, mask), mixed)])


@pytest.mark.parametrize("loss", [aot, aot_unpaired])
def test_a_batch_of_padding_is_zero(loss):
    mask = cases.mask()
    policy, reference = cases.logps(mask), cases.logps(mask, seed=2)
    value, gradient = jax.value_and_grad(lambda p: run(loss, p, reference, mask, np.zeros(5))[0].value)(policy)
    assert value == 0 and (gradient == 0).all()


def test_both_are_given_the_whole_batch():
    assert aot.facts["coupled"] and aot_unpaired.facts["coupled"]
