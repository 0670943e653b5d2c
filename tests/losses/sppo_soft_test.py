import jax.numpy as jnp
import numpy as np
import pytest

from align_jax.losses.sppo import sppo
from align_jax.losses.sppo_soft import WinRateBatch, sppo_soft
from align_jax.types import Example, Pair, PreferenceBatch, Prompt
from tests.losses import cases


def run(policy, reference, mask, weight, chosen_win_rate, rejected_win_rate, **hyper):
    rates = {"chosen_win_rate": jnp.asarray(chosen_win_rate), "rejected_win_rate": jnp.asarray(rejected_win_rate)}
    batch = WinRateBatch(None, jnp.asarray(weight), rates)
    return sppo_soft(cases.pair(policy, mask), cases.pair(reference, mask), batch, **hyper)


def test_hand_derived_value():
    # beta 0.1: targets (0.7 - 0.5) / 0.1 = 2 and (0.4 - 0.5) / 0.1 = -1. Log-ratios 1 and 2: errors -1 and 3, so
    # (1 + 9) / 2 = 5.
    rates = {"chosen_win_rate": jnp.array([0.7]), "rejected_win_rate": jnp.array([0.4])}
    policy, reference = Pair(cases.totals(-1.0), cases.totals(-1.0)), Pair(cases.totals(-2.0), cases.totals(-3.0))
    mean, _ = sppo_soft(policy, reference, WinRateBatch(None, jnp.ones(1), rates), beta=0.1)
    np.testing.assert_allclose(mean.value, 5.0, rtol=1e-5)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_value_and_gradient_equal_the_paper(reduction):
    mask, weight = cases.mask(), cases.weight()
    policy, reference = cases.logps(mask), cases.logps(mask, seed=2)
    rates = np.random.default_rng(3).uniform(size=(2, 5)).astype(np.float32)
    beta = 0.05

    def expected(p):
        errors = ((p - reference).sum(-1) - (rates - 0.5) / beta) ** 2
        return np.average(errors.mean(0) if reduction == "mean" else errors.sum(0), weights=weight)

    def value(p):
        return run(p, reference, mask, weight, *rates, beta=beta, reduction=reduction)[0].value

    cases.check(value, expected, policy, mask)


def test_certain_win_rates_give_the_hard_form():
    mask, weight = cases.mask(), cases.weight()
    policy, reference = cases.logps(mask), cases.logps(mask, seed=2)
    hard, _ = sppo(cases.pair(policy, mask), cases.pair(reference, mask), PreferenceBatch(None, jnp.asarray(weight)))
    soft, _ = run(policy, reference, mask, weight, np.ones(5, np.float32), np.zeros(5, np.float32))
    np.testing.assert_allclose(soft.value, hard.value, rtol=1e-6)


def test_win_rates_are_read_from_the_examples():
    examples = [
        Example("a", Prompt(np.zeros(1, np.int32)), numbers={"chosen_win_rate": 0.9, "rejected_win_rate": 0.2}),
        Example("b", Prompt(np.zeros(1, np.int32)), numbers={"chosen_win_rate": 0.6, "rejected_win_rate": 0.5}),
    ]

    class PackTree:
        batch_size, completion_length = 3, 4

        def __call__(self, examples, completions, view=None):
            return completions

    batch = WinRateBatch.pack(examples, PackTree())
    np.testing.assert_allclose(batch.numbers["chosen_win_rate"], [0.9, 0.6, 0.0])
    np.testing.assert_allclose(batch.numbers["rejected_win_rate"], [0.2, 0.5, 0.0])
    assert WinRateBatch.reads.completions == ("chosen", "rejected")
