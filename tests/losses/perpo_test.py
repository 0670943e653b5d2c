import numpy as np
import pytest

from align_jax.data.pack import TreePacker
from align_jax.losses.perpo import RewardedBatch, perpo
from align_jax.types import Example, Prompt
from tests.losses import cases

PRESENT = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1], [1, 1, 1, 1]], np.float32)


def run(policy, reference, mask, weight, present, rewards, **hyper):
    batch = RewardedBatch(None, weight, present, np.asarray(rewards, np.float32))
    sides = [batch.group((cases.scores(x, mask),)) for x in (policy, reference)]
    return perpo(*sides, batch, **hyper)


def test_hand_derived_values():
    # Three answers with log-ratios 2, 1, 0 and rewards .9, .4, .4: the last two are a tie and do not count.
    policy = np.array([2.0, 1, 0, 0]).reshape(1, 4, 1) - 5
    case = (
        policy,
        np.full((1, 4, 1), -5.0),
        np.ones((1, 4, 1)),
        np.ones(1),
        np.array([[1.0, 1, 1, 0]]),
        [[0.9, 0.4, 0.4, 0]],
    )
    softplus = lambda x: np.log1p(np.exp(-x))  # noqa: E731
    mean, metrics = run(*case, beta=0.5)
    np.testing.assert_allclose(mean.value, 0.5 * softplus(0.5) + 0.5 * softplus(1.0), rtol=1e-6)
    assert mean.count == 1 and metrics["rewards/margins"].count == 2
    np.testing.assert_allclose(
        run(*case, beta=0.5, form="margin")[0].value, softplus(0.5 - 0.5) + softplus(1.0 - 0.5), rtol=1e-6
    )
    with pytest.raises(ValueError, match="form"):
        run(*case, form="both")


@pytest.mark.parametrize("form", ["weight", "margin"])
def test_value_and_gradient_equal_the_formula(form, beta=0.3):
    mask = np.moveaxis(cases.mask(completions=4), 0, 1) * PRESENT[..., None]
    policy, reference, weight = cases.logps(mask, 1), cases.logps(mask, 2), cases.weight()
    rewards = -np.sort(-np.random.default_rng(3).uniform(0.1, 1, PRESENT.shape)) * PRESENT
    rewards[3, 2] = rewards[3, 1]

    def expected(x):
        ratios, total = beta * (x - reference).sum(-1), 0.0
        for row in range(4):
            for i in range(4):
                for j in range(i + 1, 4):
                    gap = float(np.float32(rewards[row, i])) - float(np.float32(rewards[row, j]))
                    if PRESENT[row, j] and gap > 0:
                        z = ratios[row, i] - ratios[row, j]
                        total += gap * np.log1p(np.exp(-z)) if form == "weight" else np.log1p(np.exp(gap - z))
        return total / 4  # lists

    def loss(x):
        return run(x, reference, mask, weight, PRESENT, rewards, beta=beta, form=form)[0].value

    cases.check(loss, expected, policy, mask)


def test_each_answer_has_a_reward_in_their_order():
    def example(scores):
        ranked = [np.array([5, 2], np.int32), np.array([6, 7, 2], np.int32)]
        return Example("a", Prompt(np.array([1, 4], np.int32)), ranked=ranked, ranked_scores=scores)

    for scores in ([0.75, 0.5], [0.75, 0.5, 0.25]):  # those past the last answer are not read
        assert RewardedBatch.reads.check(example(scores)) == ""
        batch = RewardedBatch.pack([example(scores)], TreePacker(2, 3, 5, pad_id=0))
        np.testing.assert_array_equal(batch.rewards, [[0.75, 0.5, 0, 0], [0, 0, 0, 0]])
    for scores in ([], [0.5], [0.5, 0.75]):
        assert "'scores' must hold one for each of 'ranked'" in RewardedBatch.reads.check(example(scores))
