import jax.numpy as jnp
import numpy as np

from align_jax.losses.simpo import simpo
from align_jax.types import PreferenceBatch
from tests.losses import cases

MASK = cases.mask()
POLICY = cases.logps(MASK)


def run(policy, mask=MASK, weight=None, **hyper):
    weight = cases.weight() if weight is None else weight
    return simpo(cases.pair(policy, mask), None, PreferenceBatch(None, jnp.asarray(weight)), **hyper)


def test_hand_derived_value():
    # Means: chosen (-1 - 3) / 2 = -2, rejected -3. Rewards -4 and -6; the logit is -4 + 6 - 0.5 = 1.5.
    mask = np.array([[[1.0, 1.0]], [[1.0, 0.0]]])
    mean, metrics = run(np.array([[[-1.0, -3.0]], [[-3.0, 0.0]]]), mask, np.ones(1), beta=2.0, gamma=0.5)
    np.testing.assert_allclose(mean.value, np.log1p(np.exp(-1.5)), rtol=1e-6)
    assert metrics["rewards/margins"].value == 2.0  # without gamma


def test_value_and_gradient_equal_the_paper():
    def expected(policy):
        chosen, rejected = policy.sum(-1) / MASK.sum(-1)
        return np.log1p(np.exp(-(2.5 * chosen - 2.5 * rejected - 1.4)))[:-1].mean()

    cases.check(lambda policy: run(policy, beta=2.5, gamma=1.4)[0].value, expected, POLICY, MASK)


def test_gamma_is_not_multiplied_by_beta():
    # Equal completions: the logit is -gamma, whatever beta.
    equal = np.stack([POLICY[0], POLICY[0]])
    mask = np.stack([MASK[0], MASK[0]])
    for beta in (2.0, 10.0):
        np.testing.assert_allclose(run(equal, mask, beta=beta, gamma=0.8)[0].value, np.log1p(np.exp(0.8)), rtol=1e-6)
