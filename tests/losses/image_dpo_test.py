import jax.numpy as jnp
import numpy as np

from align_jax.losses import Objective
from align_jax.losses.image_dpo import ImageSwap, ImageSwapBatch, image_dpo
from align_jax.losses.mdpo import ImagePairBatch
from align_jax.types import Reads
from tests import tiny
from tests.losses import cases
from tests.losses.contract_test import batch_of


def batch_like(rows):
    return ImageSwapBatch(None, jnp.asarray(cases.weight(rows)), None)


def test_hand_derived_value():
    # Log-ratios: behind the right image (-1) - (-3) = 2, behind the worse one (-4) - (-3) = -1; logit 0.5 * 3 = 1.5.
    policy = ImageSwap(cases.totals(-1.0), cases.totals(-4.0))
    reference = ImageSwap(cases.totals(-3.0), cases.totals(-3.0))
    mean, metrics = image_dpo(policy, reference, ImageSwapBatch(None, jnp.ones(1), None), beta=0.5)
    np.testing.assert_allclose(mean.value, np.log(1 + np.exp(-1.5)), rtol=1e-6)
    assert metrics["rewards/chosen"].value == 1.0 and metrics["rewards/rejected"].value == -0.5


def test_value_and_gradient_equal_the_paper():
    # One text: both completions have the same mask. -log sigmoid(beta * (right - worse)), mean over 4 of 5 rows.
    mask = cases.mask()[[0, 0]]
    policy, reference = cases.logps(mask, 1), cases.logps(mask, 2)

    def swap(logps):
        return ImageSwap(*(cases.scores(logps[i], mask[i]) for i in range(2)))

    def expected(x):
        right, worse = (x - reference).sum(-1)
        return np.logaddexp(0, -0.3 * (right - worse))[:4].mean()

    cases.check(
        lambda x: image_dpo(swap(x), swap(reference), batch_like(5), beta=0.3)[0].value, expected, policy, mask
    )


def test_records_need_no_rejected_text_and_both_trees_hold_the_same_one():
    examples = tiny.examples(3)
    for example in examples:
        example.completions = {"chosen": example.completions["chosen"]}
    batch = batch_of(Objective.build({"name": "image_dpo"}), examples, rows=4)
    right, worse = batch.trees()
    np.testing.assert_array_equal(right.targets, worse.targets)
    np.testing.assert_array_equal(right.media.pixels[1], examples[1].prompt.media.pixels)
    np.testing.assert_array_equal(worse.media.pixels[1], examples[1].views["corrupted"].media.pixels)
    assert batch.reads.completions == ("chosen",) and batch.reads.views == ("corrupted",)
    assert batch.weight.tolist() == [1, 1, 1, 0]


def test_it_mixes_with_losses_of_pairs_and_images():
    assert Objective.build([{"name": "image_dpo"}, {"name": "mdpo"}, {"name": "dpo"}]).batch is ImagePairBatch
    assert ImagePairBatch.reads == Reads(completions=("chosen", "rejected"), views=("corrupted",))
