import jax
import jax.numpy as jnp
import numpy as np
import pytest

from align_jax.losses.dpo import dpo
from align_jax.losses.f_dpo import f_dpo
from align_jax.types import Pair, PreferenceBatch
from tests.losses import cases

# f'(u) of the paper, u being the ratio of probabilities.
DERIVATIVES = {
    "reverse_kl": lambda u, alpha: np.log(u) + 1,
    "forward_kl": lambda u, alpha: -1 / u,
    "js": lambda u, alpha: np.log(2 * u / (1 + u)),
    "alpha": lambda u, alpha: (1 - u**-alpha) / alpha,
}


def run(policy, reference, mask, weight, **hyper):
    batch = PreferenceBatch(None, jnp.asarray(weight))
    return f_dpo(cases.pair(policy, mask), cases.pair(reference, mask), batch, **hyper)


# Ratios 4 (chosen) and 1 (rejected), beta 1.
@pytest.mark.parametrize(
    "divergence, margin",
    [
        ("reverse_kl", np.log(4)),
        ("forward_kl", -1 / 4 - -1),
        ("js", np.log(8 / 5) - np.log(1)),
        ("alpha", (1 - 1 / 2) / 0.5 - 0),
    ],
)
def test_hand_derived_value(divergence, margin):
    policy, reference = (
        Pair(cases.totals(-1.0), cases.totals(-2.0)),
        Pair(cases.totals(-1 - np.log(4)), cases.totals(-2)),
    )
    mean, metrics = f_dpo(policy, reference, PreferenceBatch(None, jnp.ones(1)), beta=1.0, divergence=divergence)
    np.testing.assert_allclose(mean.value, np.log(1 + np.exp(-margin)), rtol=1e-6)
    np.testing.assert_allclose(metrics["rewards/margins"].value, margin, rtol=1e-6)


@pytest.mark.parametrize("divergence", DERIVATIVES)
@pytest.mark.parametrize("alpha", [0.5, 0.2])
def test_value_and_gradient_equal_the_paper(divergence, alpha):
    mask, weight = cases.mask(), cases.weight()
    policy, reference = cases.logps(mask, scale=0.3), cases.logps(mask, seed=2, scale=0.3)

    def expected(p):
        chosen, rejected = DERIVATIVES[divergence](np.exp((p - reference).sum(-1)), alpha)
        return np.average(-np.log(1 / (1 + np.exp(-0.1 * (chosen - rejected)))), weights=weight)

    def value(p):
        return run(p, reference, mask, weight, divergence=divergence, alpha=alpha)[0].value

    cases.check(value, expected, policy, mask)


def test_reverse_kl_is_dpo():
    mask, weight = cases.mask(), cases.weight()
    policy, reference = cases.logps(mask), cases.logps(mask, seed=2)
    batch = PreferenceBatch(None, jnp.asarray(weight))
    expected = dpo(cases.pair(policy, mask), cases.pair(reference, mask), batch)[0].value
    assert run(policy, reference, mask, weight)[0].value == expected


@pytest.mark.parametrize("alpha, divergence", [(1e-4, "reverse_kl"), (1 - 1e-6, "forward_kl")])
def test_alpha_lies_between_reverse_and_forward_kl(alpha, divergence):
    mask, weight = cases.mask(), cases.weight()
    policy, reference = cases.logps(mask, scale=0.3), cases.logps(mask, seed=2, scale=0.3)
    values = [
        run(policy, reference, mask, weight, beta=1.0, **hyper)[0].value
        for hyper in (dict(divergence="alpha", alpha=alpha), dict(divergence=divergence))
    ]
    np.testing.assert_allclose(*values, rtol=1e-3)


@pytest.mark.parametrize("divergence", DERIVATIVES)
@pytest.mark.parametrize("total", [-500.0, 500.0])
def test_values_and_gradients_are_finite_far_from_the_reference(divergence, total):
    zero, batch = cases.totals(0.0), PreferenceBatch(None, jnp.ones(1))

    def value(both):
        policy = Pair(*(cases.scores(x, jnp.ones((1, 1))) for x in both))
        return f_dpo(policy, Pair(zero, zero), batch, divergence=divergence)[0].value

    value, gradient = jax.value_and_grad(value)(jnp.full((2, 1, 1), total).at[1].multiply(-1))
    assert jnp.isfinite(value) and jnp.isfinite(gradient).all()


@pytest.mark.parametrize("hyper", [dict(divergence="kl"), dict(alpha=0.0), dict(alpha=1.0), dict(alpha=-0.5)])
def test_what_has_no_meaning_raises(hyper):
    mask = cases.mask()
    with pytest.raises(ValueError, match=next(iter(hyper))):
        run(cases.logps(mask), cases.logps(mask), mask, cases.weight(), **hyper)
