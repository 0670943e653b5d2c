import jax
import jax.numpy as jnp
import numpy as np

from align_jax.losses.chosen_nll import chosen_nll
from align_jax.losses.orpo import orpo
from align_jax.types import PreferenceBatch
from tests.losses import cases

MASK = cases.mask()
POLICY = cases.logps(MASK, scale=0.7)


def run(policy, weight=None, mask=MASK, **hyper):
    weight = cases.weight() if weight is None else weight
    return orpo(cases.pair(policy, mask), None, PreferenceBatch(None, jnp.asarray(weight)), **hyper)


def test_hand_derived_value():
    # Two tokens of 1/2 each: mean log 1/2, odds 1. One token of 1/5: odds 1/4. The log of the ratio is log 4, whose
    # sigmoid is 4 / 5. The NLL is log 2.
    mask = np.array([[[1.0, 1.0]], [[1.0, 0.0]]])
    mean, metrics = run(np.log(np.array([[[0.5, 0.5]], [[0.2, 1.0]]])), np.ones(1), mask, lambda_=0.3)
    np.testing.assert_allclose(mean.value, np.log(2) + 0.3 * np.log(5 / 4), rtol=1e-6)
    np.testing.assert_allclose(metrics["log_odds_chosen"].value, np.log(4), rtol=1e-6)
    np.testing.assert_allclose(metrics["rewards/chosen"].value, -0.3 * np.log(2), rtol=1e-6)


def test_value_and_gradient_equal_the_paper():
    def expected(policy):
        chosen, rejected = np.exp(policy.sum(-1) / MASK.sum(-1))
        ratio = chosen / (1 - chosen) / (rejected / (1 - rejected))
        losses = -np.log(chosen) + 0.2 * np.log(1 + 1 / ratio)
        return losses[:-1].mean()

    cases.check(lambda policy: run(policy, lambda_=0.2)[0].value, expected, POLICY, MASK)


def test_a_mixture_with_the_token_mean_is_the_code_form():
    batch = PreferenceBatch(None, jnp.asarray(cases.weight()))
    odds, nll = run(POLICY, nll=False)[0], chosen_nll(cases.pair(POLICY, MASK), None, batch)[0]
    by_pair = run(POLICY)[0]
    tokens = POLICY[0, :-1].sum() / MASK[0, :-1].sum()
    np.testing.assert_allclose(odds.value + nll.value, by_pair.value - tokens - run(POLICY)[1]["nll_loss"].value, 1e-5)


def test_certain_and_empty_completions_keep_the_gradient_finite():
    mask = MASK.copy()
    mask[:, -1] = 0  # the padding row
    policy = POLICY * mask
    policy[0, 0] = 0  # a completion of probability 1
    gradient = jax.grad(lambda policy: run(policy, mask=mask)[0].value)(jnp.asarray(policy))
    assert jnp.isfinite(gradient).all() and (gradient[:, -1] == 0).all()


def test_length_is_divided_out():
    # The same tokens, twice: sums would double, means do not change.
    twice = np.concatenate([POLICY, POLICY], -1), np.concatenate([MASK, MASK], -1)
    np.testing.assert_allclose(run(twice[0], mask=twice[1])[0].value, run(POLICY)[0].value, rtol=1e-5)
