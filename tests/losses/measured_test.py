"""Losses that scale DPO by a number of the record: MM-DPO, MMedPO, HSA-DPO."""

import jax.numpy as jnp
import numpy as np
import pytest

from align_jax.losses.dpo import dpo
from align_jax.losses.hsa_dpo import SeverityBatch, hsa_dpo
from align_jax.losses.mm_dpo import MarginBatch, mm_dpo
from align_jax.losses.mmedpo import RelevanceBatch, mmedpo
from align_jax.types import Pair, PreferenceBatch
from tests.losses import cases

MASK = cases.mask()
POLICY, REFERENCE = cases.logps(MASK, 1), cases.logps(MASK, 2)
NUMBERS = np.array([0.4, 1.5, 0.0, 3.0, 99.0], np.float32)  # the last row is padding
LOSSES = {mm_dpo: MarginBatch, mmedpo: RelevanceBatch, hsa_dpo: SeverityBatch}


def run(loss, policy, numbers=NUMBERS, **hyper):
    (name,) = LOSSES[loss].reads.numbers
    batch = LOSSES[loss](None, jnp.asarray(cases.weight()), {name: jnp.asarray(numbers)})
    return loss(cases.pair(policy, MASK), cases.pair(REFERENCE, MASK), batch, **hyper)


def of_ratios(loss, chosen, rejected, number, **hyper):
    (name,) = LOSSES[loss].reads.numbers
    zero, batch = cases.totals(0.0), LOSSES[loss](None, jnp.ones(1), {name: jnp.array([number])})
    return loss(Pair(cases.totals(chosen), cases.totals(rejected)), Pair(zero, zero), batch, **hyper)[0].value


def softplus(x):
    return np.log1p(np.exp(x))


def test_hand_derived_values():
    # MM-DPO: 1 - exp(-0.5 * log 4) = 1/2, so beta = 0.1 * (1 + 0.5 * 1/2) = 0.125; margin 8, logit 1.
    np.testing.assert_allclose(of_ratios(mm_dpo, 5.0, -3.0, np.log(4)), softplus(-1.0), rtol=1e-6)
    # The same with the factor itself: beta = 0.1 * (1 + 0.5 * 3) = 0.25.
    np.testing.assert_allclose(of_ratios(mm_dpo, 5.0, -3.0, 3.0, form="code"), softplus(-2.0), rtol=1e-6)
    # MMedPO: 0.7 times DPO of a logit of 0.1 * 8. A single pair is not divided by its relevance.
    np.testing.assert_allclose(of_ratios(mmedpo, 5.0, -3.0, 0.7), 0.7 * softplus(-0.8), rtol=1e-6)
    # HSA-DPO: 0.1 * (5 - 2 * (-3)) = 1.1.
    np.testing.assert_allclose(of_ratios(hsa_dpo, 5.0, -3.0, 2.0), softplus(-1.1), rtol=1e-6)


REAL = NUMBERS[:-1].astype(np.float64)
FORMULAS = {
    mm_dpo: lambda chosen, rejected: softplus(-0.2 * (1 + 0.5 * (1 - np.exp(-0.5 * REAL))) * (chosen - rejected)),
    mmedpo: lambda chosen, rejected: REAL * softplus(-0.2 * (chosen - rejected)),
    hsa_dpo: lambda chosen, rejected: softplus(-0.2 * (chosen - REAL * rejected)),
}


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.__name__)
def test_value_and_gradient_equal_the_formula(loss):
    def expected(policy):
        chosen, rejected = (policy - REFERENCE).sum(-1)[:, :-1]
        return FORMULAS[loss](chosen, rejected).mean()

    cases.check(lambda policy: run(loss, policy, beta=0.2)[0].value, expected, POLICY, MASK)


@pytest.mark.parametrize("margin, beta", [(-5.0, 0.1), (0.0, 0.1), (1e3, 0.15)])
def test_beta_of_mm_dpo_stays_in_its_range(margin, beta):
    metrics = run(mm_dpo, POLICY, np.full(5, margin, np.float32))[1]
    np.testing.assert_allclose(metrics["beta"].value, beta, rtol=1e-6)


@pytest.mark.parametrize("factor, beta", [(-100.0, 1e-3), (3.0, 0.25)])
def test_beta_of_the_code_form_has_a_floor_and_no_ceiling(factor, beta):
    metrics = run(mm_dpo, POLICY, np.full(5, factor, np.float32), form="code")[1]
    np.testing.assert_allclose(metrics["beta"].value, beta, rtol=1e-6)


def test_another_form_is_refused():
    with pytest.raises(ValueError, match='"paper" or "code", not \'released\''):
        run(mm_dpo, POLICY, form="released")


@pytest.mark.parametrize("loss, number", [(mm_dpo, 0.0), (mmedpo, 1.0), (hsa_dpo, 1.0)])
def test_it_is_dpo_where_the_number_says_nothing(loss, number):
    batch = PreferenceBatch(None, jnp.asarray(cases.weight()))
    plain = dpo(cases.pair(POLICY, MASK), cases.pair(REFERENCE, MASK), batch)[0]
    measured = run(loss, POLICY, np.full(5, number, np.float32))[0]
    np.testing.assert_allclose([measured.value, measured.count], [plain.value, plain.count], rtol=1e-6)
