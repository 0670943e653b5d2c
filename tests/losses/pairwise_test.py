"""Losses that are a function of the two log-ratios of a pair."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from align_jax.losses.apo_down import apo_down
from align_jax.losses.apo_zero import apo_zero
from align_jax.losses.discopop import discopop
from align_jax.losses.dpo import dpo
from align_jax.losses.exo import exo
from align_jax.losses.hinge import hinge
from align_jax.losses.nca import nca
from align_jax.losses.robust_dpo import robust_dpo
from align_jax.losses.sppo import sppo
from align_jax.types import Pair, PreferenceBatch
from tests.losses import cases

LOG3 = np.log(3)

# The papers' formulas over c and r, the log-ratios f64[B] of chosen and rejected; all in probabilities, not logits.


def s(x):
    return 1 / (1 + np.exp(-x))


def hinge64(c, r, beta):
    return np.where(beta * (c - r) < 1, 1 - beta * (c - r), 0)


def robust64(c, r, beta, label_smoothing):
    p, e = s(beta * (c - r)), label_smoothing
    return (-(1 - e) * np.log(p) + e * np.log(1 - p)) / (1 - 2 * e)


def exo64(c, r, beta, label_smoothing):
    p = np.stack([np.exp(beta * c), np.exp(beta * r)])
    p, q = p / p.sum(0), np.array([[1 - label_smoothing], [label_smoothing]])
    return (p * np.log(p / q)).sum(0)


def nca64(c, r, beta):
    return -np.log(s(beta * c)) - 0.5 * np.log(1 - s(beta * c)) - 0.5 * np.log(1 - s(beta * r))


def sppo64(c, r, beta, reduction="mean"):
    eta = 1 / beta
    errors = np.stack([c - eta * (1 - 0.5), r - eta * (0 - 0.5)]) ** 2
    return errors.mean(0) if reduction == "mean" else errors.sum(0)


def apo_zero64(c, r, beta):
    return 1 - s(beta * c) + s(beta * r)


def apo_down64(c, r, beta):
    return s(beta * c) + 1 - s(beta * c - beta * r)


def discopop64(c, r, beta, tau):
    z = beta * (c - r)
    return (1 - s(z / tau)) * np.log(1 + np.exp(-z)) + s(z / tau) * np.exp(-z)


def run(loss, policy, reference, mask, weight, **hyper):
    batch = PreferenceBatch(None, jnp.asarray(weight))
    return loss(cases.pair(policy, mask), cases.pair(reference, mask), batch, **hyper)


@pytest.mark.parametrize(
    "loss, formula, hyper",
    [
        (hinge, hinge64, dict(beta=0.1)),
        (hinge, hinge64, dict(beta=0.5)),
        (robust_dpo, robust64, dict(beta=0.2, label_smoothing=0.1)),
        (robust_dpo, robust64, dict(beta=0.2, label_smoothing=0.4)),
        (exo, exo64, dict(beta=0.2, label_smoothing=1e-3)),
        (exo, exo64, dict(beta=0.5, label_smoothing=0.2)),
        (nca, nca64, dict(beta=0.01)),
        (nca, nca64, dict(beta=0.3)),
        (sppo, sppo64, dict(beta=0.1)),
        (sppo, sppo64, dict(beta=0.1, reduction="sum")),
        (apo_zero, apo_zero64, dict(beta=0.1)),
        (apo_down, apo_down64, dict(beta=0.1)),
        (discopop, discopop64, dict(beta=0.05, tau=0.05)),
        (discopop, discopop64, dict(beta=0.1, tau=0.3)),
    ],
)
def test_value_and_gradient_equal_the_paper(loss, formula, hyper):
    mask, weight = cases.mask(), cases.weight()
    policy, reference = cases.logps(mask), cases.logps(mask, seed=2)

    def expected(p):
        chosen, rejected = (p - reference).sum(-1)
        return np.average(formula(chosen, rejected, **hyper), weights=weight)

    cases.check(lambda p: run(loss, p, reference, mask, weight, **hyper)[0].value, expected, policy, mask)


# Log-ratios of +log 3 (chosen) and -log 3 (rejected): with beta 1, sigmoid(chosen) = 3/4, sigmoid(rejected) = 1/4, the
# margin is log 9, and sigmoid(margin) = 9/10.
HAND = [
    (hinge, dict(beta=0.25), 1 - np.log(9) / 4),
    (hinge, dict(beta=0.5), 0.0),  # log 9 / 2 > 1
    (robust_dpo, dict(beta=1.0, label_smoothing=0.25), (3 / 4 * np.log(10 / 9) - 1 / 4 * np.log(10)) / (1 / 2)),
    (exo, dict(beta=1.0, label_smoothing=0.2), 9 / 10 * np.log(9 / 8) + 1 / 10 * np.log(1 / 2)),
    (nca, dict(beta=1.0), np.log(4 / 3) + np.log(4) / 2 + np.log(4 / 3) / 2),
    (sppo, dict(beta=0.5), (LOG3 - 1) ** 2),  # targets +1 and -1: both are LOG3 - 1 away
    (sppo, dict(beta=0.5, reduction="sum"), 2 * (LOG3 - 1) ** 2),
    (apo_zero, dict(beta=1.0), 1 / 4 + 1 / 4),
    (apo_down, dict(beta=1.0), 3 / 4 + 1 / 10),
    (discopop, dict(beta=1.0, tau=2.0), 1 / 4 * np.log(10 / 9) + 3 / 4 / 9),  # modulation sigmoid(log 9 / 2) = 3/4
]


@pytest.mark.parametrize("loss, hyper, expected", HAND)
def test_hand_derived_value(loss, hyper, expected):
    policy, reference = (
        Pair(cases.totals(LOG3 - 5), cases.totals(-4.0)),
        Pair(cases.totals(-5.0), cases.totals(LOG3 - 4)),
    )
    mean, metrics = loss(policy, reference, PreferenceBatch(None, jnp.ones(1)), **hyper)
    np.testing.assert_allclose(mean.value, expected, rtol=1e-5, atol=1e-6)
    beta = hyper["beta"]
    np.testing.assert_allclose(metrics["rewards/chosen"].value, beta * LOG3, rtol=1e-5)
    np.testing.assert_allclose(metrics["rewards/margins"].value, 2 * beta * LOG3, rtol=1e-5)


@pytest.mark.parametrize("loss", [hinge, robust_dpo, exo, nca, sppo, apo_zero, apo_down, discopop])
def test_values_and_gradients_are_finite_far_from_the_reference(loss):
    # Margins of 2000 nats either way: exponentials overflow, sigmoids underflow.
    batch = PreferenceBatch(None, jnp.ones(2))
    zero = cases.totals(0.0, 0.0)

    def value(chosen):
        policy = Pair(cases.scores(chosen, jnp.ones_like(chosen)), zero)
        return loss(policy, Pair(zero, zero), batch)[0].value

    value, gradient = jax.value_and_grad(value)(jnp.array([[2000.0], [-2000.0]]))
    assert jnp.isfinite(value) and jnp.isfinite(gradient).all()


def test_robust_dpo_over_flipped_labels_is_dpo():
    mask, weight = cases.mask(), cases.weight()
    policy, reference = cases.logps(mask), cases.logps(mask, seed=2)
    rate = 0.3
    right = run(robust_dpo, policy, reference, mask, weight, label_smoothing=rate)[0].value
    flipped = run(robust_dpo, policy[::-1], reference[::-1], mask[::-1], weight, label_smoothing=rate)[0].value
    clean = run(dpo, policy, reference, mask, weight)[0].value
    np.testing.assert_allclose((1 - rate) * right + rate * flipped, clean, rtol=1e-5)


def test_robust_dpo_without_noise_is_dpo():
    mask, weight = cases.mask(), cases.weight()
    policy, reference = cases.logps(mask), cases.logps(mask, seed=2)
    clean = run(dpo, policy, reference, mask, weight)[0].value
    assert run(robust_dpo, policy, reference, mask, weight, label_smoothing=0.0)[0].value == clean


def test_exo_is_zero_where_the_policy_holds_the_smoothed_labels():
    # sigmoid(log 9) = 0.9 = 1 - label_smoothing; the KL's other direction and a label left unsmoothed would not be 0.
    policy, zero = Pair(cases.totals(np.log(9.0)), cases.totals(0.0)), cases.totals(0.0)
    mean, _ = exo(policy, Pair(zero, zero), PreferenceBatch(None, jnp.ones(1)), beta=1.0, label_smoothing=0.1)
    np.testing.assert_allclose(mean.value, 0.0, atol=1e-7)


def test_discopop_rises_with_the_margin_at_the_reference():
    # d/dz at 0 = (1 - log 2) / (4 tau) - 1/4 - 1/2 > 0 for tau = 0.05: the paper's "negative gradients" at the start.
    zero = cases.totals(0.0)
    batch = PreferenceBatch(None, jnp.ones(1))

    def value(total):
        policy = Pair(cases.scores(total, jnp.ones((1, 1))), zero)
        return discopop(policy, Pair(zero, zero), batch, beta=0.05, tau=0.05)[0].value

    slope = 0.05 * ((1 - np.log(2)) / (4 * 0.05) - 0.75)
    np.testing.assert_allclose(jax.grad(value)(jnp.zeros((1, 1))), [[slope]], rtol=1e-5)


@pytest.mark.parametrize(
    "loss, hyper",
    [
        (robust_dpo, dict(label_smoothing=0.5)),
        (robust_dpo, dict(label_smoothing=-0.1)),
        (exo, dict(label_smoothing=0.0)),
        (exo, dict(label_smoothing=0.5)),
        (sppo, dict(reduction="token")),
    ],
)
def test_what_has_no_meaning_raises(loss, hyper):
    zero = cases.totals(0.0)
    with pytest.raises(ValueError, match=next(iter(hyper))):
        loss(Pair(zero, zero), Pair(zero, zero), PreferenceBatch(None, jnp.ones(1)), **hyper)
