import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from align_jax.data.pack import TreePacker
from align_jax.losses.kto import Mismatched, MismatchedBatch, kto, mismatched
from align_jax.types import Scores, Tiles
from tests import tiny
from tests.losses import cases

MASK = cases.mask(completions=3)
POLICY, REFERENCE = cases.logps(MASK, 1), cases.logps(MASK, 2)
# Rows: both answers, chosen, rejected, both, padding that claims to have both.
PRESENT = np.array([[1, 1], [1, 0], [0, 1], [1, 1], [1, 1]], np.float32)


def group(logps, mask=MASK):
    return Mismatched(*(cases.scores(logps[k], mask[k]) for k in range(3)))


def run(policy, reference=REFERENCE, mask=MASK, present=PRESENT, weight=None, **hyper):
    weight = cases.weight(policy.shape[1]) if weight is None else weight
    batch = MismatchedBatch(None, jnp.asarray(weight), jnp.asarray(present))
    return kto(group(policy, mask), group(reference, mask), batch, **hyper)


def totals(*values):
    """[3, B, 1]: chosen, rejected, mismatched of each row."""
    return np.array(values, np.float32).T[:, :, None]


def of_ratios(*ratios, present, **hyper):
    """KTO of log-ratios: rows of chosen, rejected, mismatched."""
    policy = totals(*ratios)
    ones = np.ones_like(policy)
    return run(policy - 9, -9 * ones, ones, np.array(present, np.float32), np.ones(len(ratios)), **hyper)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_hand_derived_value():
    # z0 is the mean of 3 and -1, that is 1. Row 1: chosen, log-ratio 3; row 2: rejected, log-ratio 5.
    # beta 0.5: 1 - sigmoid(0.5 * (3 - 1)) = sigmoid(-1), and 1 - sigmoid(0.5 * (1 - 5)) = sigmoid(2).
    mean, metrics = of_ratios((3, 77, 3), (77, 5, -1), present=[[1, 0], [0, 1]], beta=0.5)
    np.testing.assert_allclose(mean.value, (sigmoid(-1.0) + sigmoid(2.0)) / 2, rtol=1e-6)
    np.testing.assert_allclose(metrics["kl"].value, 1.0, rtol=1e-6)
    assert metrics["rewards/chosen"].value == 1.5 and metrics["rewards/rejected"].value == 2.5
    assert metrics["rewards/margins"].count == 0


def test_weights_multiply_and_do_not_divide():
    plain = of_ratios((3, 0, 1), (0, 5, 1), present=[[1, 0], [0, 1]])[0]
    chosen = of_ratios((3, 0, 1), (0, 5, 1), present=[[1, 0], [0, 1]], undesirable_weight=0.0)[0]
    twice = of_ratios((3, 0, 1), (0, 5, 1), present=[[1, 0], [0, 1]], desirable_weight=2.0)[0]
    np.testing.assert_allclose(twice.value, plain.value + chosen.value, rtol=1e-6)
    assert plain.count == 2


def test_value_and_gradient_equal_the_paper():
    # z0 is taken at the point of comparison and not varied: it has no gradient.
    ratio = (POLICY.astype(np.float64) - REFERENCE).sum(-1)
    assert ratio[2, :-1].mean() > 0
    z0 = ratio[2, :-1].mean()

    def expected(policy):
        chosen, rejected, _ = (policy - REFERENCE).sum(-1)
        value = np.stack(
            [
                0.7 * sigmoid(0.3 * (chosen - z0)),
                1.3 * sigmoid(0.3 * (z0 - rejected)),
            ],
            -1,
        )
        there = PRESENT[:-1] > 0
        return (np.array([0.7, 1.3]) - value)[:-1][there].mean()

    hyper = dict(beta=0.3, desirable_weight=0.7, undesirable_weight=1.3)
    cases.check(lambda policy: run(policy, **hyper)[0].value, expected, POLICY, MASK)


def test_the_estimate_is_clamped_after_the_mean():
    # Mean of 4 and -6 is -1, hence 0; clamped before, it would be 2.
    assert of_ratios((1, 0, 4), (1, 0, -6), present=[[1, 0], [1, 0]])[1]["kl"].value == 0.0


def test_the_estimate_has_no_gradient():
    gradient = jax.grad(lambda policy: run(policy)[0].value)(jnp.asarray(POLICY))
    assert (gradient[2] == 0).all() and (gradient[0] != 0).any()


def test_a_batch_of_one_estimates_nothing():
    policy = totals((3, 0, 0))
    mask = np.array([[[1.0]], [[0.0]], [[0.0]]])
    mean, metrics = run(policy, 0 * policy, mask, np.array([[1.0, 0.0]]), np.ones(1), beta=1.0)
    assert metrics["kl"].value == 0
    np.testing.assert_allclose(mean.value, sigmoid(-3.0), rtol=1e-6)


def test_rows_without_a_mismatched_answer_are_not_averaged():
    policy = totals((1, 0, 4), (1, 0, 0))
    mask = np.ones_like(policy)
    mask[2, 1] = 0
    assert run(policy, 0 * policy, mask, np.array([[1.0, 0.0]] * 2), np.ones(2))[1]["kl"].value == 4.0


def test_padding_rows_and_missing_answers_change_nothing():
    other = POLICY.copy()
    other[:, -1] = -50
    other[1, 1], other[0, 2] = -50, -50  # answers that are missing
    np.testing.assert_array_equal(run(other)[0].value, run(POLICY)[0].value)
    jax.tree.map(np.testing.assert_array_equal, run(other)[1], run(POLICY)[1])


def packer(rows):
    empty = Tiles(np.zeros((0, 8, 8, 3), np.float32))
    return TreePacker(rows, prompt_length=12, completion_length=8, pad_id=0, empty=empty, items=1)


def with_answers(example, *names):
    return dataclasses.replace(example, completions={name: example.completions[name] for name in names})


def completion(tree, row, k):
    return tree.targets[row, k][tree.mask[row, k] > 0].tolist()


def test_packing_takes_what_there_is_and_the_answer_of_the_one_before():
    examples = tiny.examples(4)
    answers = [e.completions for e in examples]
    examples[1] = with_answers(examples[1], "chosen")
    examples[2] = with_answers(examples[2], "rejected")
    examples[3] = with_answers(examples[3])
    batch = MismatchedBatch.pack(examples, packer(6))
    np.testing.assert_array_equal(batch.present, [[1, 1], [1, 0], [0, 1], [0, 0], [0, 0], [0, 0]])
    np.testing.assert_array_equal(batch.weight, [1, 1, 1, 1, 0, 0])
    assert batch.trees()[0].targets.shape == (6, 3, 8)
    assert completion(batch.tree, 0, 2) == []  # the last example has no answer
    assert completion(batch.tree, 1, 2) == answers[0]["rejected"].tolist()
    assert completion(batch.tree, 2, 2) == answers[1]["chosen"].tolist()
    assert completion(batch.tree, 3, 2) == answers[2]["rejected"].tolist()
    assert completion(batch.tree, 0, 0) == answers[0]["chosen"].tolist()
    assert completion(batch.tree, 1, 1) == []
    assert set(examples[1].completions) == {"chosen"}  # the examples themselves are left alone


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_examples_have_no_mismatched_answer(count):
    assert [len(answer) for answer in mismatched(tiny.examples(count))] == [0] * count


def test_scores_of_the_tree_come_back_by_name():
    batch = MismatchedBatch.pack(tiny.examples(2), packer(2))
    scores = Scores(jnp.arange(2 * 3 * 8.0).reshape(2, 3, 8), jnp.asarray(batch.tree.mask))
    grouped = batch.group((scores,))
    np.testing.assert_array_equal(grouped.mismatched.logps, scores.logps[:, 2])
    np.testing.assert_array_equal(grouped.rejected.logps, scores.logps[:, 1])
