import numpy as np
import pytest

from align_jax.data.pack import TreePacker
from align_jax.losses import Objective
from align_jax.losses.truth_nll import PairAndTruth, TruthBatch, truth_nll
from align_jax.types import Example, Prompt
from tests.losses import cases


def run(policy, mask, weight, **hyper):
    scores = PairAndTruth(*(cases.scores(policy[k], mask[k]) for k in range(3)))
    return truth_nll(scores, None, TruthBatch(None, weight), **hyper)


def test_hand_derived_values():
    # Truths of two tokens (-1, -2) and one token (-6): mean of means 3.75, of tokens 3, of sums 4.5.
    mask = np.ones((3, 2, 2))
    mask[2, 1, 1] = 0
    policy = np.full((3, 2, 2), -40.0)
    policy[2] = [[-1, -2], [-6, 0]]
    values = {how: run(policy, mask, np.ones(2), reduction=how)[0].value for how in ("mean", "token", "sequence")}
    assert values == {"mean": 3.75, "token": 3.0, "sequence": 4.5}
    assert run(policy, mask, np.ones(2))[0].value == 3.75
    with pytest.raises(ValueError, match="reduction"):
        run(policy, mask, np.ones(2), reduction="sum")


@pytest.mark.parametrize("reduction", ["mean", "token", "sequence"])
def test_value_and_gradient_equal_the_formula(reduction):
    mask, weight = cases.mask(completions=3), cases.weight()

    def expected(x):
        nll, length = -x[2, :4].sum(-1), mask[2, :4].sum(-1)
        return {"mean": (nll / length).mean(), "token": nll.sum() / length.sum(), "sequence": nll.mean()}[reduction]

    def loss(x):
        return run(x, mask, weight, reduction=reduction)[0].value

    cases.check(loss, expected, cases.logps(mask), mask)


def test_three_answers_are_packed_in_order_and_dpo_reads_the_first_two():
    ids = {name: np.array([token], np.int32) for token, name in enumerate(("truth", "rejected", "chosen"), 5)}
    batch = TruthBatch.pack([Example("a", Prompt(np.array([1, 4], np.int32)), ids)], TreePacker(2, 3, 4, pad_id=0))
    np.testing.assert_array_equal(batch.tree.targets[0, :, 0], [7, 6, 5])
    grouped = batch.group((cases.scores(batch.tree.targets * 1.0, batch.tree.mask),))
    assert [float(s.logps[0, 0]) for s in (grouped.chosen, grouped.rejected, grouped.truth)] == [7, 6, 5]
    objective = Objective.build([{"name": "dpo"}, {"name": "truth_nll", "weight": 0.1}])
    assert objective.batch is TruthBatch
