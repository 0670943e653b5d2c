import jax
import jax.numpy as jnp
import numpy as np
import pytest

from align_jax.losses.dpo import dpo
from align_jax.types import Pair, PreferenceBatch, Scores


def random_case(seed=0, rows=5, length=7):
    """Ragged log-probabilities of a pair under two models, the last row being padding."""
    rng = np.random.default_rng(seed)
    mask = (np.arange(length) < rng.integers(1, length + 1, (2, rows, 1))).astype(np.float32)
    policy, reference = (-rng.exponential(2.0, (2, rows, length)).astype(np.float32) * mask for _ in range(2))
    weight = np.array([1.0] * (rows - 1) + [0.0], np.float32)
    return policy, reference, mask, weight


def run(policy, reference, mask, weight, **hyper):
    def pair(logps):
        return Pair(*(Scores(logps[i], jnp.asarray(mask[i])) for i in range(2)))

    batch = PreferenceBatch(None, jnp.asarray(weight))
    return dpo(pair(jnp.asarray(policy)), pair(jnp.asarray(reference)), batch, **hyper)


def test_hand_derived_value():
    # Log-ratios: chosen (-1) - (-2) = 1, rejected (-3) - (-1) = -2, so the logit is 0.5 * 3 = 1.5.
    policy, reference = np.array([[[-1.0]], [[-3.0]]]), np.array([[[-2.0]], [[-1.0]]])
    mean, metrics = run(policy, reference, np.ones((2, 1, 1)), np.ones(1), beta=0.5)
    np.testing.assert_allclose(mean.value, np.log(1 + np.exp(-1.5)), rtol=1e-6)
    assert metrics["rewards/chosen"].value == 0.5 and metrics["rewards/rejected"].value == -1.0
    assert metrics["rewards/accuracies"].value == 1.0 and metrics["rewards/margins"].value == 1.5


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("beta", [0.1, 0.5])
def test_value_and_gradient_equal_trl(beta, label_smoothing):
    # TRL 0.24, `DPOTrainer.dpo_loss` with loss_type "sigmoid", written out in float64 with its derivative:
    #   logits = (chosen_logps - rejected_logps) - (ref_chosen_logps - ref_rejected_logps)
    #   losses = -logsigmoid(beta * logits) * (1 - e) - logsigmoid(-beta * logits) * e;  loss = losses.mean()
    policy, reference, mask, weight = random_case()
    total = lambda x: x.astype(np.float64).sum(-1)  # noqa: E731
    z = beta * ((total(policy[0]) - total(policy[1])) - (total(reference[0]) - total(reference[1])))
    sigmoid = 1 / (1 + np.exp(-z))
    rows = int(weight.sum())
    expected = (-np.log(sigmoid) * (1 - label_smoothing) - np.log(1 - sigmoid) * label_smoothing)[:rows].mean()
    slope = (
        beta * (sigmoid - 1 + label_smoothing) * weight / rows
    )  # d loss / d chosen total; the rejected one's is minus that
    value, grad = jax.value_and_grad(
        lambda p: run(p, reference, mask, weight, beta=beta, label_smoothing=label_smoothing)[0].value
    )(jnp.asarray(policy))
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(grad[0], np.broadcast_to(slope[:, None], grad[0].shape), rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(grad[1], -np.broadcast_to(slope[:, None], grad[1].shape), rtol=1e-5, atol=1e-8)


def test_loss_is_log_two_at_the_reference():
    policy, _, mask, weight = random_case()
    np.testing.assert_allclose(run(policy, policy, mask, weight)[0].value, np.log(2), rtol=1e-6)
