import jax
import jax.numpy as jnp
import numpy as np
import pytest

from align_jax.losses.dpo import dpo
from align_jax.losses.wpo import wpo
from align_jax.types import Pair, PreferenceBatch
from tests.losses import cases


def collisions(mask, seed=3):
    """Log of the sum of squared probabilities: below 0, and 0 where masked."""
    return -np.random.default_rng(seed).exponential(1.0, mask.shape).astype(np.float32) * mask


def run(policy, reference, mask, weight, collision, **hyper):
    scored = Pair(*(cases.scores(policy[i], mask[i], collision=jnp.asarray(collision[i])) for i in range(2)))
    return wpo(scored, cases.pair(reference, mask), PreferenceBatch(None, jnp.asarray(weight)), **hyper)


# Chosen: two tokens of probability 1/2 each, where a sample has 1/2 and 1/8 on average: w = (1 * 4)^(1/2) = 2.
# Rejected: one token of probability 1/8 where a sample has 1/4: w = 1/2. Log-ratio of chosen log 4, of rejected 0.
MASK = np.array([[[1, 1]], [[1, 0]]], np.float32)
POLICY = np.log(np.array([[[1 / 2, 1 / 2]], [[1 / 8, 1]]], np.float32))
REFERENCE = np.log(np.array([[[1 / 4, 1 / 4]], [[1 / 8, 1]]], np.float32))
COLLISION = np.log(np.array([[[1 / 2, 1 / 8]], [[1 / 4, 1]]], np.float32))


@pytest.mark.parametrize(
    "hyper, weight",
    [
        (dict(), 2 * 1 / 2),
        (dict(max_weight=0.75), 0.75),
        (dict(aligned=False), 1 / 2 * 1 / 8),
        (dict(aligned=False, max_weight=0.75), 1 / 2 * 1 / 8),
    ],
)
def test_hand_derived_value(hyper, weight):
    # beta 1 and a margin of log 4: -log sigmoid = log(5/4).
    mean, metrics = run(POLICY, REFERENCE, MASK, np.ones(1), COLLISION, beta=1.0, **hyper)
    np.testing.assert_allclose(mean.value, weight * np.log(5 / 4), rtol=1e-6)
    np.testing.assert_allclose(metrics["wpo/weight"].value, weight, rtol=1e-6)


@pytest.mark.parametrize("hyper", [dict(), dict(aligned=False), dict(max_weight=0.05)])
def test_value_and_gradient_equal_the_paper(hyper):
    mask, weight = cases.mask(), cases.weight()
    policy, reference, collision = cases.logps(mask), cases.logps(mask, seed=2), collisions(mask)
    fixed = policy.astype(np.float64)  # the weights hold the policy as it is, so that no gradient passes
    aligned = fixed - (collision if hyper.get("aligned", True) else 0)
    weights = np.exp((aligned * mask).sum(-1) / mask.sum(-1)).prod(0)
    weights = np.minimum(weights, hyper.get("max_weight", np.inf))

    def expected(p):
        chosen, rejected = (p - reference).sum(-1)
        return np.average(weights * np.log1p(np.exp(-0.1 * (chosen - rejected))), weights=weight)

    cases.check(lambda p: run(p, reference, mask, weight, collision, **hyper)[0].value, expected, policy, mask)


def test_no_gradient_reaches_the_collision():
    mask, weight = cases.mask(), cases.weight()
    policy, reference = cases.logps(mask), cases.logps(mask, seed=2)
    gradient = jax.grad(lambda c: run(policy, reference, mask, weight, c)[0].value)(jnp.asarray(collisions(mask)))
    assert (gradient == 0).all()


def test_weights_do_not_enter_the_denominator():
    # Half the weight is half the loss; a weighted mean would hide it.
    mean, _ = run(POLICY, REFERENCE, MASK, np.ones(1), COLLISION, max_weight=1.0)
    half, _ = run(POLICY, REFERENCE, MASK, np.ones(1), COLLISION, max_weight=0.5)
    assert mean.count == half.count == 1
    np.testing.assert_allclose(half.value, mean.value / 2, rtol=1e-6)


def test_text_of_a_uniform_policy_weighs_one():
    # Each token has probability 1/V, and so has a sample's: what is drawn from the policy is on-policy.
    mask, weight = cases.mask(), cases.weight()
    uniform = np.full_like(mask, -np.log(40)) * mask
    reference = cases.logps(mask, seed=2)
    batch = PreferenceBatch(None, jnp.asarray(weight))
    expected = dpo(cases.pair(uniform, mask), cases.pair(reference, mask), batch)[0].value
    np.testing.assert_allclose(run(uniform, reference, mask, weight, uniform)[0].value, expected, rtol=1e-6)


def test_the_statistic_is_asked_for():
    assert wpo.facts["statistics"] == ("collision",)
