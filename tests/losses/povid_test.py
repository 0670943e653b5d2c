import jax.numpy as jnp
import numpy as np
import pytest

from align_jax.losses import Objective
from align_jax.losses.povid import NoisyBatch, OwnTriple, own_tokens, povid
from align_jax.types import Scores
from tests import tiny
from tests.losses import cases
from tests.losses.contract_test import batch_of

MASK = cases.mask()[[0, 1, 0]]  # chosen, rejected, own


def triple(logps):
    return OwnTriple(*(cases.scores(logps[i], MASK[i]) for i in range(3)))


def softplus(x):
    return np.logaddexp(0, x)


def test_hand_derived_value():
    # Log-ratios: chosen 2, rejected -1, own -3 - (-2) = -1 less 1 = -2. Logits 0.1 * 3 and 0.1 * 4, half of each.
    policy = OwnTriple(*map(cases.totals, (-1.0, -4.0, -4.0)))
    reference = OwnTriple(*map(cases.totals, (-3.0, -3.0, -2.0)))
    mean, metrics = povid(policy, reference, NoisyBatch(None, jnp.ones(1), None), beta=0.1)
    np.testing.assert_allclose(mean.value, 0.5 * softplus(-0.3) + 0.5 * softplus(-0.4), rtol=1e-6)
    np.testing.assert_allclose(metrics["rewards/own"].value, -0.2, rtol=1e-6)
    np.testing.assert_allclose(metrics["rewards/rejected"].value, -0.1, rtol=1e-6)


def test_value_and_gradient_equal_the_formula():
    policy, reference = cases.logps(MASK, 1), cases.logps(MASK, 2)
    batch = NoisyBatch(None, jnp.asarray(cases.weight()), None)

    def expected(x):
        chosen, rejected, own = (x - reference).sum(-1)[:, :4]
        return (0.5 * softplus(-0.3 * (chosen - rejected)) + 0.5 * softplus(-0.3 * (chosen - own))).mean()

    cases.check(lambda x: povid(triple(x), triple(reference), batch, beta=0.3)[0].value, expected, policy, MASK)


def model(shift, seen):
    """The likeliest token is `shift` after the target; remembers what it was asked."""

    def scores(tree):
        seen.append(tree)
        top = jnp.where(tree.mask > 0, tree.targets + shift, 0)
        return Scores(0 * tree.mask, tree.mask, top=top)

    return scores


def test_own_tokens_are_those_of_each_model_on_the_noised_image_and_stand_behind_the_clean_one():
    examples, seen = tiny.examples(3), []
    batch = batch_of(Objective.build({"name": "povid"}), examples, rows=4)
    before = batch.tree
    both = own_tokens(batch, model(1, seen), model(2, seen))
    assert [tree is batch.noisy for tree in seen] == [True, True]
    np.testing.assert_array_equal(batch.noisy.media.pixels[1], examples[1].views["corrupted"].media.pixels)
    np.testing.assert_array_equal(batch.noisy.targets, before.targets[:, :1])
    for shift, prepared in zip((1, 2), both, strict=True):
        (tree,) = prepared.trees()
        np.testing.assert_array_equal(tree.media.pixels, before.media.pixels)
        np.testing.assert_array_equal(tree.media.pixels[1], examples[1].prompt.media.pixels)
        np.testing.assert_array_equal(tree.targets[:, :2], before.targets)
        own = np.where(before.mask[:, 0] > 0, before.targets[:, 0] + shift, 0)
        np.testing.assert_array_equal(tree.targets[:, 2], own)
        for field in ("tokens", "mask"):  # teacher-forced: the chosen text is fed, and its tokens count
            np.testing.assert_array_equal(getattr(tree, field)[:, [0, 1, 0]], getattr(tree, field))
            np.testing.assert_array_equal(getattr(tree, field)[:, :2], getattr(before, field))
        assert tree.targets.dtype == before.targets.dtype


def test_a_batch_that_was_not_prepared_is_an_error():
    batch = batch_of(Objective.build({"name": "povid"}), tiny.examples(2), rows=2)
    scores = tuple(cases.scores(0 * tree.mask, tree.mask) for tree in batch.trees())
    with pytest.raises(ValueError, match="own_tokens"):
        batch.group(scores)


def test_it_asks_for_the_likeliest_tokens():
    assert povid.facts["statistics"] == ("top",) and povid.facts["prepare"] is own_tokens
