import jax
import jax.numpy as jnp
import numpy as np
import pytest

from align_jax.losses.bco import bco, no_rewards
from align_jax.losses.bco_unpaired import DensityRatioBatch, bco_unpaired, udm
from align_jax.losses.unpaired import UnpairedBatch
from align_jax.types import Mean, Pair, PreferenceBatch
from tests.losses import cases

MASK = cases.mask()
POLICY, REFERENCE = cases.logps(MASK, 1), cases.logps(MASK, 2)
WEIGHT = jnp.asarray(cases.weight())
PRESENT = np.array([[1, 1], [1, 0], [0, 1], [1, 0], [1, 1]], np.float32)
SEEN = Mean(jnp.asarray(6.0), jnp.asarray(4.0))  # four rewards of mean 1.5


def paired(policy, memory=SEEN, reference=REFERENCE, **hyper):
    return bco(cases.pair(policy, MASK), cases.pair(reference, MASK), PreferenceBatch(None, WEIGHT), memory, **hyper)


def unpaired(policy, memory=SEEN, present=PRESENT, **hyper):
    batch = UnpairedBatch(None, WEIGHT, jnp.asarray(present))
    return bco_unpaired(cases.pair(policy, MASK), cases.pair(REFERENCE, MASK), batch, memory, **hyper)


def softplus(x):
    return np.log1p(np.exp(x))


def of_rewards(chosen, rejected, memory, **hyper):
    pair, zero = Pair(cases.totals(*chosen), cases.totals(*rejected)), cases.totals(*([0.0] * len(chosen)))
    return bco(pair, Pair(zero, zero), PreferenceBatch(None, jnp.ones(len(chosen))), memory, beta=1.0, **hyper)


def test_hand_derived_values_of_two_steps():
    # Rewards 3 and -1: their mean, 1, is the shift of this very step. Both halves are softplus(-(3 - 1)), and add up.
    mean, metrics, memory = of_rewards([3.0], [-1.0], no_rewards())
    np.testing.assert_allclose(mean.value, 2 * softplus(-2.0), rtol=1e-6)
    assert metrics["delta"].value == 1.0
    # Then 5 and 5: the mean of all four rewards is 3, not the 5 of this step, nor an average that forgets.
    mean, metrics, memory = of_rewards([5.0], [5.0], memory)
    np.testing.assert_allclose(mean.value, softplus(-2.0) + softplus(2.0), rtol=1e-6)
    assert metrics["delta"].value == 3.0 and memory.count == 4


def test_the_shift_is_a_mean_over_pairs_and_not_over_steps():
    _, _, memory = of_rewards([1.0, 1.0, 1.0], [1.0, 1.0, 1.0], no_rewards())
    assert of_rewards([5.0], [5.0], memory)[1]["delta"].value == 2.0


def test_without_a_shift_it_is_trls_present_form():
    mean, _, _ = of_rewards([3.0], [-1.0], SEEN, shift=False)
    np.testing.assert_allclose(mean.value, softplus(-3.0) + softplus(-1.0), rtol=1e-6)


def rewards(policy):
    return 0.3 * (policy - REFERENCE).sum(-1)


def test_value_and_gradient_equal_the_formula():
    # The shift is taken at the point of comparison and not varied: it has no gradient.
    delta = (6.0 + rewards(POLICY.astype(np.float64))[:, :-1].sum()) / (4 + 8)

    def expected(policy):
        chosen, rejected = rewards(policy)
        return (softplus(delta - chosen) + softplus(rejected - delta))[:-1].mean()

    cases.check(lambda policy: paired(policy, beta=0.3)[0].value, expected, POLICY, MASK)


@pytest.mark.parametrize("ratio", [None, np.array([0.1, 2.0, 3.0, 99.0, 5.0], np.float32)])
def test_unpaired_value_and_gradient_equal_the_formula(ratio):
    there = PRESENT[:-1].T > 0
    delta = (6.0 + rewards(POLICY.astype(np.float64))[:, :-1][there].sum()) / (4 + there.sum())
    clipped = np.ones(5) if ratio is None else np.array([0.5, 2.0, 3.0, 10.0, 5.0])

    def expected(policy):
        chosen, rejected = rewards(policy)
        losses = np.stack([softplus(delta - chosen), clipped * softplus(rejected - delta)])
        return losses[:, :-1][there].mean()

    def loss(policy):
        if ratio is None:
            return unpaired(policy, beta=0.3)[0].value
        batch = DensityRatioBatch(None, WEIGHT, jnp.asarray(PRESENT), {"density_ratio": jnp.asarray(ratio)})
        return udm(cases.pair(policy, MASK), cases.pair(REFERENCE, MASK), batch, SEEN, beta=0.3)[0].value

    cases.check(loss, expected, POLICY, MASK)


def test_unpaired_is_half_of_the_pair_form_on_pairs():
    pair, answers = paired(POLICY), unpaired(POLICY, present=np.ones((5, 2), np.float32))
    np.testing.assert_allclose(pair[0].value, 2 * answers[0].value, rtol=1e-6)
    np.testing.assert_allclose(pair[1]["delta"].value, answers[1]["delta"].value, rtol=1e-6)


def test_the_shift_has_no_gradient():
    def delta(policy):
        _, _, memory = paired(policy)
        return memory.value

    assert (jax.grad(delta)(jnp.asarray(POLICY)) == 0).all()


@pytest.mark.parametrize("loss", [paired, unpaired])
def test_padding_rows_and_missing_answers_change_nothing(loss):
    other = POLICY.copy()
    other[:, -1] = -50
    if loss is unpaired:
        other[1, 1], other[0, 2] = -50, -50
    jax.tree.map(np.testing.assert_array_equal, loss(other), loss(POLICY))
