import jax.numpy as jnp
import numpy as np
import pytest

from align_jax.losses.dense_dpo import DensePreferenceBatch, changed_tokens, dense_dpo
from align_jax.types import Pair, Scores
from tests import tiny
from tests.losses import cases
from tests.losses.contract_test import batch_of

PROMPT = np.array([90, 91, 92])


def marks(chosen, rejected):
    return [m.astype(int).tolist() for m in changed_tokens(PROMPT, np.array(chosen), np.array(rejected))]


def test_a_replaced_token_is_changed_on_both_sides():
    assert marks([1, 2, 3, 4, 5, 6, 7], [1, 2, 3, 9, 5, 6, 7]) == [[0, 0, 0, 1, 0, 0, 0]] * 2


def test_insertion_and_deletion_are_not_changed():
    assert marks([1, 2, 3, 8, 8, 4, 5, 6], [1, 2, 3, 4, 5, 6]) == [[0] * 8, [0] * 6]


def test_a_match_shorter_than_three_tokens_does_not_count():
    # 5, 6 stand on both sides, but two tokens are too few, so everything after 1, 2, 3 is changed.
    assert marks([1, 2, 3, 7, 5, 6], [1, 2, 3, 8, 5, 6]) == [[0, 0, 0, 1, 1, 1]] * 2


def test_the_prompt_counts_towards_the_first_match():
    # A single equal token at the start is a match of four with the prompt in front.
    assert marks([1, 7, 8], [1, 9, 6]) == [[0, 1, 1]] * 2


def test_frequent_tokens_are_not_junked():
    # From 200 tokens on, difflib's autojunk would drop the repeated token and find no match at all.
    chosen, rejected = [5] * 250 + [1, 2, 3, 4], [5] * 250 + [9, 2, 3, 4]
    assert [sum(m) for m in marks(chosen, rejected)] == [1, 1]


@pytest.mark.parametrize("normalize", [True, False])
def test_value_equals_the_paper(normalize):
    # log pi(y) = (sum of unchanged + gamma * sum of changed) / (their number + gamma * the changed ones' number)
    rng = np.random.default_rng(1)
    policy, reference = rng.normal(-2, 1, (2, 2, 3, 5))
    mask = (np.arange(5) < np.array([[[5], [3], [2]], [[4], [5], [1]]])).astype(np.float64)
    policy, reference = policy * mask, reference * mask
    changed = rng.integers(0, 2, (3, 2, 5))
    beta, gamma = 0.5, 5.0
    expected = []
    for row in range(3):
        logp = {}
        for side in range(2):
            for name, scores in (("policy", policy), ("reference", reference)):
                total = norm = 0.0
                for t in range(5):
                    if mask[side, row, t]:
                        w = gamma if changed[row, side, t] else 1.0
                        total, norm = total + w * scores[side, row, t], norm + w
                logp[side, name] = total / norm if normalize else total
        margin = (logp[0, "policy"] - logp[0, "reference"]) - (logp[1, "policy"] - logp[1, "reference"])
        expected.append(np.log1p(np.exp(-beta * margin)))

    def pair(x):
        return Pair(*(Scores(jnp.asarray(x[i], jnp.float32), jnp.asarray(mask[i], jnp.float32)) for i in range(2)))

    batch = DensePreferenceBatch(None, jnp.ones(3), jnp.asarray(changed, jnp.float32))

    def ours(x):
        return dense_dpo(pair(x), pair(reference), batch, beta=beta, gamma=gamma, normalize=normalize)[0].value

    def theirs(x):
        weights = mask * np.where(np.moveaxis(changed, 1, 0), gamma, 1.0)
        totals = (weights * (x - reference)).sum(-1) / (weights.sum(-1) if normalize else 1.0)
        return np.log1p(np.exp(-beta * (totals[0] - totals[1]))).mean()

    np.testing.assert_allclose(theirs(policy), np.mean(expected))
    cases.check(ours, theirs, policy.astype(np.float32), mask)
    mean, _ = dense_dpo(pair(policy), pair(reference), batch, beta=beta, gamma=gamma, normalize=normalize)
    np.testing.assert_allclose(mean.value, np.mean(expected), rtol=1e-5)


def test_pack_aligns_the_marks_with_the_targets():
    from align_jax.losses import Objective

    examples = tiny.examples(4)
    batch = batch_of(Objective.build({"name": "dense_dpo"}), examples, rows=4)
    for row, example in enumerate(examples):
        chosen, rejected = changed_tokens(
            example.prompt.ids, *(example.completions[k] for k in ("chosen", "rejected"))
        )
        np.testing.assert_array_equal(batch.changed[row, 0, : len(chosen)], chosen)
        np.testing.assert_array_equal(batch.changed[row, 1, : len(rejected)], rejected)
        assert batch.changed[row, 0, len(chosen) :].sum() == 0
    assert batch.changed.sum() > 0
