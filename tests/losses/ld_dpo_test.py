import jax.numpy as jnp
import numpy as np
import pytest

from align_jax.losses.dpo import dpo
from align_jax.losses.ld_dpo import ld_dpo
from align_jax.types import PreferenceBatch
from tests.losses import cases


def run(loss, policy, reference, mask, weight, **hyper):
    batch = PreferenceBatch(None, jnp.asarray(weight))
    return loss(cases.pair(policy, mask), cases.pair(reference, mask), batch, **hyper)


def test_hand_derived_value():
    # Row 0: chosen has 4 tokens of log-ratio 1, rejected 2 of -1; shared are 2, so 2 + 0.25 * 2 = 2.5 against -2.
    # Row 1: the rejected one is longer: 1 against -(1 + 0.25 * 3) = -1.75.
    mask = np.array([[[1, 1, 1, 1], [1, 0, 0, 0]], [[1, 1, 0, 0], [1, 1, 1, 1]]], np.float32)
    ratio = mask * np.array([1, -1], np.float32)[:, None, None]
    mean, metrics = run(ld_dpo, ratio, 0 * ratio, mask, np.ones(2), beta=0.5, alpha=0.25)
    expected = (np.log1p(np.exp(-0.5 * 4.5)) + np.log1p(np.exp(-0.5 * 2.75))) / 2
    np.testing.assert_allclose(mean.value, expected, rtol=1e-6)
    np.testing.assert_allclose(metrics["rewards/chosen"].value, 0.5 * (2.5 + 1) / 2, rtol=1e-6)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_value_and_gradient_equal_the_paper(alpha):
    mask, weight = cases.mask(), cases.weight()
    policy, reference = cases.logps(mask), cases.logps(mask, seed=2)
    lengths = mask.sum(-1).astype(int)

    def expected(p):
        losses = []
        for row in range(mask.shape[1]):
            shared = min(lengths[0, row], lengths[1, row])
            ratio = p[:, row] - reference[:, row]
            chosen, rejected = ratio[:, :shared].sum(-1) + alpha * ratio[:, shared:].sum(-1)
            losses.append(-np.log(1 / (1 + np.exp(-0.1 * (chosen - rejected)))))
        return np.average(losses, weights=weight)

    cases.check(lambda p: run(ld_dpo, p, reference, mask, weight, alpha=alpha)[0].value, expected, policy, mask)


def test_alpha_one_is_dpo():
    mask, weight = cases.mask(), cases.weight()
    policy, reference = cases.logps(mask), cases.logps(mask, seed=2)
    expected = run(dpo, policy, reference, mask, weight)[0].value
    np.testing.assert_allclose(run(ld_dpo, policy, reference, mask, weight, alpha=1.0)[0].value, expected, rtol=1e-6)


def test_tokens_are_counted_by_the_mask_and_not_by_their_place():
    # A masked token inside a completion does not count towards the shared length.
    mask = np.array([[[1, 0, 1, 1]], [[1, 1, 0, 0]]], np.float32)
    ratio = mask * np.array([1, -1], np.float32)[:, None, None]
    _, metrics = run(ld_dpo, ratio, 0 * ratio, mask, np.ones(1), beta=1.0, alpha=0.0)
    assert metrics["rewards/chosen"].value == 2.0
