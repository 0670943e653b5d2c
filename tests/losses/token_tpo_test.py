import jax.numpy as jnp
import numpy as np

from align_jax.losses.token_tpo import token_tpo
from align_jax.losses.v_dpo import CorruptedPair, CorruptedPairBatch
from tests.losses import cases

PAIR = cases.mask()[[0, 1, 0, 1]]  # chosen, rejected, and both behind the corrupted image
MASK = np.concatenate([PAIR, PAIR])  # log-probabilities, then raw logits


def batch(rows=5):
    return CorruptedPairBatch(None, jnp.asarray(cases.weight(rows) if rows > 1 else np.ones(1, np.float32)), None)


def pair(x, mask=PAIR):
    return CorruptedPair(*(cases.scores(x[i], mask[i], logits=jnp.asarray(x[4 + i])) for i in range(4)))


def test_hand_derived_value():
    # Policy: s = log 3 for both texts, sigmoid(s) = 3/4: c = 5/4 in the chosen, 3/4 in the rejected text.
    # Reference: s = -log 3: c = 3/4 in the chosen, 5/4 in the rejected one. All log-ratios of log-probabilities are 0.
    # Rewards: log(5/4) - log(3/4) = log(5/3) and -log(5/3); sigmoid(beta * 2 log(5/3)) at beta 1 is 25 / (25 + 9).
    three = np.log(3.0)
    policy = np.array([-1, -1, -9, -9, three, three, 0, 0], np.float32).reshape(8, 1, 1)
    reference = np.array([-1, -1, -5, -5, 0, 0, three, three], np.float32).reshape(8, 1, 1)
    mask = np.ones((4, 1, 1))
    mean, metrics = token_tpo(pair(policy, mask), pair(reference, mask), batch(1), beta=1.0)
    np.testing.assert_allclose(mean.value, np.log(34 / 25), rtol=1e-6)
    np.testing.assert_allclose(metrics["rewards/chosen"].value, np.log(5 / 3), rtol=1e-6)
    assert metrics["logps/chosen"].value == -1.0


def case():
    policy, reference = cases.logps(MASK, 1), cases.logps(MASK, 2)
    policy[4:] = np.random.default_rng(3).normal(size=PAIR.shape) * PAIR
    reference[4:] = np.random.default_rng(4).normal(size=PAIR.shape) * PAIR
    return policy, reference


def test_value_and_gradient_equal_the_code():
    # Gradient also through the raw logits, of the policy on either image.
    policy, reference = case()

    def total(x, side):
        s = 1 / (1 + np.exp(-(x[4 + side] - x[6 + side])))
        c = s + 0.5 if side == 0 else 1.5 - s
        return ((x[side] + np.log(c)) * PAIR[side]).sum(-1)[:4]

    def expected(x):
        chosen, rejected = (total(x, side) - total(reference.astype(np.float64), side) for side in range(2))
        return np.logaddexp(0, -0.3 * (chosen - rejected)).mean()

    cases.check(lambda x: token_tpo(pair(x), pair(reference), batch(), beta=0.3)[0].value, expected, policy, MASK)


def test_masked_tokens_have_no_weight_even_if_their_logits_are_not_zero():
    policy, reference = case()
    value = token_tpo(pair(policy), pair(reference), batch())[0].value
    policy[4:] += 3 * (1 - PAIR) * np.arange(4)[:, None, None]
    np.testing.assert_array_equal(token_tpo(pair(policy), pair(reference), batch())[0].value, value)


def test_it_asks_for_raw_logits():
    assert token_tpo.facts["statistics"] == ("logits",)
