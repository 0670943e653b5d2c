import numpy as np
import pytest

from align_jax.data.pack import TreePacker
from align_jax.losses.amp import amp
from align_jax.losses.ranked import RankedBatch
from align_jax.types import Example, Prompt
from tests.losses import cases

PRESENT = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1], [1, 1, 1, 1]], np.float32)


def run(policy, reference, mask, weight, present, **hyper):
    batch = RankedBatch(None, weight, present)
    sides = [batch.group((cases.scores(x, mask),)) for x in (policy, reference)]
    return amp(*sides, batch, **hyper)


def totals(*rewards):
    """One row of four answers of one token, with these log-ratios to a reference of -5."""
    policy = np.array(rewards).reshape(1, 4, 1) - 5
    return policy, np.full((1, 4, 1), -5.0), np.ones((1, 4, 1)), np.ones(1)


def test_hand_derived_value():
    # Differences of pairs at log-ratios 3, 1, 1, 0: best against the others 2, 2, 3; second 0, 1; third 1.
    softplus = lambda x: np.log1p(np.exp(-x))  # noqa: E731
    expected = sum(map(softplus, np.array([2, 2, 3, 0, 1, 1]) * 0.5)) / 6
    mean, metrics = run(*totals(3, 1, 1, 0), np.ones((1, 4)), beta=0.5, penalty=0.0)
    np.testing.assert_allclose(mean.value, expected, rtol=1e-6)
    assert mean.count == 6
    np.testing.assert_allclose(metrics["rewards/accuracies"].value, 5 / 6, rtol=1e-6)


def test_the_penalty_is_not_scaled_by_beta_and_weighs_half_of_four_answers():
    # A tie everywhere but for a best answer that lost 2 nats: the penalty, 2, is in 3 of 6 terms.
    for beta in (0.1, 0.5):
        plain, with_penalty = (run(*totals(-2, 0, 0, 0), np.ones((1, 4)), beta=beta, penalty=p)[0] for p in (0, 1))
        np.testing.assert_allclose(with_penalty.value - plain.value, 2 * 0.5, rtol=1e-5)
    better = run(*totals(2, 0, 0, 0), np.ones((1, 4)), beta=0.1)[0].value
    assert better < plain.value  # a best answer that gained is rewarded: there is no floor


@pytest.mark.parametrize("penalty", [0.0, 1.0])
@pytest.mark.parametrize("beta", [0.1, 0.5])
def test_value_and_gradient_equal_the_formula(beta, penalty):
    mask = np.moveaxis(cases.mask(completions=4), 0, 1) * PRESENT[..., None]
    policy, reference, weight = cases.logps(mask, 1), cases.logps(mask, 2), cases.weight()

    def expected(x):
        ratios = (x - reference).sum(-1)
        losses = []
        for row in range(4):
            count = int(PRESENT[row].sum())
            for i in range(count - 1):
                for j in range(i + 1, count):
                    term = np.log1p(np.exp(-beta * (ratios[row, i] - ratios[row, j])))
                    losses.append(term - penalty * ratios[row, i] * (i == 0))
        assert len(losses) == 6 + 1 + 3 + 6
        return np.mean(losses)

    def loss(x):
        return run(x, reference, mask, weight, PRESENT, beta=beta, penalty=penalty)[0].value

    cases.check(loss, expected, policy, mask)


def test_packing_puts_answers_in_the_order_of_their_rank_and_leaves_out_what_is_not_there():
    prompt = Prompt(np.array([1, 4], np.int32))
    answers = [np.full(k + 1, 10 + k, np.int32) for k in range(5)]
    examples = [Example("a", prompt, ranked=answers[:2]), Example("b", prompt, ranked=answers[:4])]
    batch = RankedBatch.pack(examples, TreePacker(3, 3, 5, pad_id=0))
    np.testing.assert_array_equal(batch.present, [[1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]])
    np.testing.assert_array_equal(batch.tree.targets[1, :, 0], [10, 11, 12, 13])
    np.testing.assert_array_equal(batch.tree.mask.sum(-1), [[1, 2, 0, 0], [1, 2, 3, 4], [0, 0, 0, 0]])
    np.testing.assert_array_equal(batch.weight, [1, 1, 0])
    np.testing.assert_array_equal(batch.pair_weight.sum(-1), [1, 6, 0])
    assert RankedBatch.pack([], TreePacker(2, 3, 5, pad_id=0)).pair_weight.sum() == 0
