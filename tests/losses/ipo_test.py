"""IPO and length-normalised DPO: losses over log-ratios per token."""

import jax.numpy as jnp
import numpy as np
import pytest

from align_jax.losses.dpo import dpo
from align_jax.losses.ipo import ipo
from align_jax.losses.sigmoid_norm import sigmoid_norm
from align_jax.types import PreferenceBatch
from tests.losses import cases


def run(loss, policy, reference, mask, weight, **hyper):
    batch = PreferenceBatch(None, jnp.asarray(weight))
    return loss(cases.pair(policy, mask), cases.pair(reference, mask), batch, **hyper)


# Chosen: 4 tokens of log-ratio 0.5 each. Rejected: 2 tokens of log-ratio -1 each, and padding.
MASK = np.array([[[1, 1, 1, 1]], [[1, 1, 0, 0]]], np.float32)
RATIO = np.array([[[0.5, 0.5, 0.5, 0.5]], [[-1, -1, 0, 0]]], np.float32)


@pytest.mark.parametrize(
    "loss, hyper, expected",
    [
        (ipo, dict(beta=0.5), (0.5 - -1.0 - 1.0) ** 2),
        (ipo, dict(beta=0.5, reduction="sequence"), (2.0 - -2.0 - 1.0) ** 2),
        (sigmoid_norm, dict(beta=2.0), np.log(1 + np.exp(-2.0 * 1.5))),
    ],
)
def test_hand_derived_value(loss, hyper, expected):
    mean, _ = run(loss, RATIO, 0 * RATIO, MASK, np.ones(1), **hyper)
    np.testing.assert_allclose(mean.value, expected, rtol=1e-6)


def test_metrics_are_the_rewards_that_are_compared():
    _, metrics = run(sigmoid_norm, RATIO, 0 * RATIO, MASK, np.ones(1), beta=2.0)
    assert metrics["rewards/chosen"].value == 1.0 and metrics["rewards/rejected"].value == -2.0
    _, metrics = run(ipo, RATIO, 0 * RATIO, MASK, np.ones(1), beta=0.5, reduction="sequence")
    assert metrics["rewards/chosen"].value == 1.0 and metrics["rewards/rejected"].value == -1.0


@pytest.mark.parametrize(
    "loss, hyper", [(ipo, {}), (ipo, dict(reduction="token")), (ipo, dict(reduction="sequence")), (sigmoid_norm, {})]
)
def test_value_and_gradient_equal_the_paper(loss, hyper):
    mask, weight = cases.mask(), cases.weight()
    policy, reference = cases.logps(mask), cases.logps(mask, seed=2)
    lengths = mask.sum(-1) if hyper.get("reduction") != "sequence" else 1.0

    def expected(p):
        chosen, rejected = (p - reference).sum(-1) / lengths
        if loss is ipo:  # tau 0.1
            losses = (chosen - rejected - 1 / (2 * 0.1)) ** 2
        else:  # beta 5
            losses = -np.log(1 / (1 + np.exp(-5.0 * (chosen - rejected))))
        return np.average(losses, weights=weight)

    cases.check(lambda p: run(loss, p, reference, mask, weight, **hyper)[0].value, expected, policy, mask)


@pytest.mark.parametrize("loss", [ipo, sigmoid_norm])
def test_padding_does_not_count_towards_the_length(loss):
    mask, weight = cases.mask(), cases.weight()
    policy, reference = cases.logps(mask), cases.logps(mask, seed=2)
    wide = [np.pad(x, ((0, 0), (0, 0), (0, 9))) for x in (policy, reference, mask)]
    short, long = run(loss, policy, reference, mask, weight), run(loss, *wide, weight)
    np.testing.assert_allclose(short[0].value, long[0].value, rtol=1e-6)


def test_sigmoid_norm_is_dpo_on_completions_of_one_token():
    mask, weight = np.ones((2, 5, 1), np.float32), cases.weight()
    policy, reference = cases.logps(mask), cases.logps(mask, seed=2)
    expected = run(dpo, policy, reference, mask, weight, beta=0.3)[0].value
    np.testing.assert_allclose(run(sigmoid_norm, policy, reference, mask, weight, beta=0.3)[0].value, expected)


def test_an_empty_completion_is_no_division_by_zero():
    mask = MASK * np.array([1, 0], np.float32)[:, None, None]
    mean, _ = run(sigmoid_norm, RATIO * mask, 0 * RATIO, mask, np.ones(1), beta=2.0)
    np.testing.assert_allclose(mean.value, np.log(1 + np.exp(-1.0)), rtol=1e-6)


def test_an_unknown_reduction_raises():
    with pytest.raises(ValueError, match="reduction"):
        run(ipo, RATIO, 0 * RATIO, MASK, np.ones(1), reduction="mean")
