import jax.numpy as jnp
import numpy as np

from align_jax.losses.cpo import cpo
from align_jax.types import Pair, PreferenceBatch
from tests.losses import cases

MASK = cases.mask()
POLICY = cases.logps(MASK)


def run(policy, mask=MASK, **hyper):
    return cpo(cases.pair(policy, mask), None, PreferenceBatch(None, jnp.asarray(cases.weight())), **hyper)


def test_hand_derived_value():
    # Log-probabilities -2 and -5: the logit is 0.5 * 3 = 1.5, and the NLL 2, of which a quarter counts.
    pair = Pair(cases.totals(-2.0), cases.totals(-5.0))
    mean, metrics = cpo(pair, None, PreferenceBatch(None, jnp.ones(1)), beta=0.5, alpha=0.25)
    np.testing.assert_allclose(mean.value, np.log1p(np.exp(-1.5)) + 0.5, rtol=1e-6)
    assert metrics["nll_loss"].value == 2.0 and metrics["rewards/chosen"].value == -1.0


def test_value_and_gradient_equal_the_paper():
    def expected(policy):
        chosen, rejected = policy.sum(-1)
        return (np.log1p(np.exp(-0.2 * (chosen - rejected))) - 0.7 * chosen)[:-1].mean()

    cases.check(lambda policy: run(policy, beta=0.2, alpha=0.7)[0].value, expected, POLICY, MASK)


def test_the_default_weighs_the_likelihood_fully():
    nll = -POLICY[0, :-1].sum(-1).mean()
    np.testing.assert_allclose(run(POLICY)[0].value - run(POLICY, alpha=0.0)[0].value, nll, rtol=1e-5)
