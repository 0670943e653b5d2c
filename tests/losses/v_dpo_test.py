import jax
import jax.numpy as jnp
import numpy as np
import pytest

from align_jax.losses import Objective
from align_jax.losses.v_dpo import CorruptedPair, CorruptedPairBatch, v_dpo
from tests import tiny
from tests.losses import cases
from tests.losses.contract_test import batch_of

MASK = cases.mask()[[0, 1, 0, 1]]  # chosen, rejected, and both behind the blank image


def batch():
    return CorruptedPairBatch(None, jnp.asarray(cases.weight()), None)


def pair(logps):
    return CorruptedPair(*(cases.scores(logps[i], MASK[i]) for i in range(4)))


def softplus(x):
    return np.logaddexp(0, x)


def test_hand_derived_value():
    # Guided by 1 + gamma = 1.5: chosen 1.5 * (-1) - 0.5 * (-2) = -0.5, rejected 1.5 * (-4) - 0.5 * (-3) = -4.5.
    # Less the reference, which is not guided: -0.5 - (-3) = 2.5 and -4.5 - (-3) = -1.5. Logit 0.1 * 4.
    policy = CorruptedPair(*map(cases.totals, (-1.0, -4.0, -2.0, -3.0)))
    reference = CorruptedPair(*map(cases.totals, (-3.0, -3.0, -5.0, -7.0)))
    one = CorruptedPairBatch(None, jnp.ones(1), None)
    mean, metrics = v_dpo(policy, reference, one, beta=0.1, gamma=0.5)
    np.testing.assert_allclose(mean.value, softplus(-0.4), rtol=1e-6)
    np.testing.assert_allclose(metrics["rewards/chosen"].value, 0.25, rtol=1e-6)
    assert metrics["logps/chosen"].value == -1.0  # of the policy, not guided
    # Language bias: chosen behind the right image -1 + 3 = 2, behind the blank one -2 + 5 = 3. Logit 0.1 * (-1).
    mean, _ = v_dpo(policy, reference, one, beta=0.1, gamma=0.5, language_bias=2.0)
    np.testing.assert_allclose(mean.value, softplus(-0.4) + 2 * softplus(0.1), rtol=1e-6)


@pytest.mark.parametrize("language_bias", [0.0, 0.7])
def test_value_and_gradient_equal_the_paper(language_bias):
    policy, reference = cases.logps(MASK, 1), cases.logps(MASK, 2)
    blank = policy[2:].astype(np.float64)  # no gradient through the guidance

    def expected(x):
        better, worse = (1.5 * x[:2] - 0.5 * blank - reference[:2]).sum(-1)[:, :4]
        right, behind_blank = (x[0] - reference[0]).sum(-1)[:4], (x[2] - reference[2]).sum(-1)[:4]
        return (softplus(-0.3 * (better - worse)) + language_bias * softplus(-0.3 * (right - behind_blank))).mean()

    hyper = dict(beta=0.3, gamma=0.5, language_bias=language_bias)
    cases.check(lambda x: v_dpo(pair(x), pair(reference), batch(), **hyper)[0].value, expected, policy, MASK)


def test_the_reference_is_not_guided():
    policy, reference = cases.logps(MASK, 1), cases.logps(MASK, 2)
    other = np.concatenate([reference[:2], reference[2:] * 5])
    value, same = (v_dpo(pair(policy), pair(r), batch())[0].value for r in (reference, other))
    assert value == same


@pytest.mark.parametrize("gamma", [0.0, -1.0])
def test_guidance_must_be_above_zero(gamma):
    # gamma -1 is the released script's --gamma 0.0: the policy would be the detached blank branch.
    with pytest.raises(ValueError, match="no gradient"):
        v_dpo(pair(MASK), pair(MASK), batch(), gamma=gamma)


def test_the_second_tree_holds_both_texts_behind_the_corrupted_image():
    examples = tiny.examples(3)
    objective = Objective.build([{"name": "v_dpo"}, {"name": "image_dpo"}])
    packed = batch_of(objective, examples, rows=4)
    pairs, corrupted = packed.trees()
    np.testing.assert_array_equal(pairs.targets, corrupted.targets)
    np.testing.assert_array_equal(corrupted.media.pixels[1], examples[1].views["corrupted"].media.pixels)
    numbers = jnp.broadcast_to(jnp.arange(2.0)[None, :, None], pairs.mask.shape)
    grouped = packed.group((cases.scores(numbers, pairs.mask), cases.scores(numbers + 2, pairs.mask)))
    order = [grouped.chosen, grouped.rejected, grouped.chosen_corrupted, grouped.rejected_corrupted]
    assert [float(jax.device_get(s.logps)[0, 0]) for s in order] == [0, 1, 2, 3]
