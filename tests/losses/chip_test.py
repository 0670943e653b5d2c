import jax.numpy as jnp
import numpy as np
import pytest

from align_jax.losses import Objective
from align_jax.losses.chip import HierarchicalBatch, chip
from align_jax.losses.dense_dpo import changed_tokens
from align_jax.losses.mdpo import ImagePair
from tests import tiny
from tests.losses import cases
from tests.losses.contract_test import batch_of

MASK = cases.mask()[[0, 1, 0]]  # chosen, rejected, chosen behind the corrupted image
WITH_KL = np.concatenate([MASK, MASK[:2]])
CHANGED = np.random.default_rng(5).integers(0, 2, (5, 2, 7)).astype(np.float32)


def batch(changed=CHANGED):
    weight = cases.weight(len(changed)) if len(changed) > 1 else np.ones(1, np.float32)
    return HierarchicalBatch(tree=None, weight=jnp.asarray(weight), corrupted=None, changed=jnp.asarray(changed))


def pair(x, mask=MASK):
    """Three rows of log-probabilities; two of KL, if there are."""
    kl = [x[3], x[4], None] if len(x) > 3 else [None] * 3
    return ImagePair(*(cases.scores(x[i], mask[i], kl=kl[i]) for i in range(3)))


def softplus(x):
    return np.logaddexp(0, x)


def case():
    policy, reference = cases.logps(WITH_KL, 1), cases.logps(MASK, 2)
    policy[3:] *= -1  # KL is above 0
    return policy, reference


HAND = np.array([[-1.0, -1.0], [-4.0, -1.0], [-1.5, -1.0], [0.5, 0.3], [0.25, 0.0]])[:, None]
HAND_REFERENCE = np.array([[-3.0, -1.0], [-3.0, -1.0], [-2.0, -1.0]])[:, None]


def hand(**hyper):
    # Log-ratios by token: chosen 2 + 0, rejected -1 + 0, corrupted 0.5 + 0; the first token is changed on both sides.
    changed = np.array([[[1.0, 0.0], [1.0, 0.0]]])
    mask = np.ones((3, 1, 2))
    return chip(pair(HAND, mask), pair(HAND_REFERENCE, mask), batch(changed), **hyper)[0].value


def test_hand_derived_value_of_the_paper():
    # beta 0.5. Image: 0.5 * (2 - 0.5). Text: 0.5 * (2 + 1). Segments, weights 4 and 1, divided by 5: 0.5 * 12 / 5.
    # Tokens: 0.5 * (0.8 - 0.25), KL of chosen and rejected being 0.8 and 0.25.
    expected = softplus(-0.75) + softplus(-1.5) + 3 * softplus(-1.2) + 0.1 * 0.275
    np.testing.assert_allclose(hand(lam=3.0), expected, rtol=1e-6)


def test_without_the_divisor_segments_weigh_five_times_as_much():
    expected = softplus(-0.75) + softplus(-1.5) + softplus(-6.0) + 0.1 * 0.275
    np.testing.assert_allclose(hand(normalize=False), expected, rtol=1e-6)


def test_hand_derived_value_of_the_code():
    # Weighted log-ratios 8, -4 and 2: one sigmoid of 0.1 * (8 + 4 + 8 - 2 - 0.1 * (0.25 - 0.8)).
    np.testing.assert_allclose(hand(beta=0.1, form="code"), softplus(-0.1 * 18.055), rtol=1e-6)


@pytest.mark.parametrize("normalize", [True, False])
def test_value_and_gradient_equal_the_paper(normalize):
    policy, reference = case()
    fixed = policy[3].astype(np.float64).sum(-1)[:4]  # KL of the chosen completion: no gradient

    def expected(x):
        ratio = x[:3] - reference
        chosen, rejected, corrupted = ratio.sum(-1)[:, :4]
        weights = MASK[:2] * np.where(CHANGED.transpose(1, 0, 2) > 0, 6.0, 1.0)
        better, worse = (weights * ratio[:2]).sum(-1) / (weights.sum(-1) if normalize else 1.0)
        image, text = softplus(-0.5 * (chosen - corrupted)), softplus(-0.5 * (chosen - rejected))
        segments = softplus(-0.5 * (better - worse))[:4]
        tokens = 0.5 * fixed - 0.5 * x[4].sum(-1)[:4]
        return (image + 0.7 * text + 1.5 * segments + 0.2 * tokens).mean()

    hyper = dict(beta=0.5, response_weight=0.7, lam=1.5, gam=0.2, segment_weight=6.0, normalize=normalize)
    cases.check(lambda x: chip(pair(x), pair(reference), batch(), **hyper)[0].value, expected, policy, WITH_KL)


def test_value_and_gradient_equal_the_code():
    policy, reference = case()
    fixed = policy[3].astype(np.float64).sum(-1)

    def expected(x):
        weights = MASK * np.where(CHANGED.transpose(1, 0, 2)[[0, 1, 0]] > 0, 6.0, 1.0)
        chosen, rejected, corrupted = (weights * (x[:3] - reference)).sum(-1)
        logits = chosen - rejected + chosen - corrupted - 0.2 * (x[4].sum(-1) - fixed)
        return softplus(-0.05 * logits)[:4].mean()

    hyper = dict(beta=0.05, gam=0.2, segment_weight=6.0, form="code")
    cases.check(lambda x: chip(pair(x), pair(reference), batch(), **hyper)[0].value, expected, policy, WITH_KL)


def test_another_form_is_an_error():
    policy, reference = case()
    with pytest.raises(ValueError, match="other"):
        chip(pair(policy), pair(reference), batch(), form="other")


def test_pack_marks_changed_tokens_and_adds_the_corrupted_image():
    examples = tiny.examples(3)
    objective = Objective.build([{"name": "chip"}, {"name": "mdpo"}, {"name": "dense_dpo"}])
    assert objective.batch is HierarchicalBatch and "kl" in objective.statistics
    packed = batch_of(objective, examples, rows=4)
    example, (pairs, corrupted) = examples[1], packed.trees()
    marks = changed_tokens(example.prompt.ids, *(example.completions[k] for k in ("chosen", "rejected")))
    for side, found in enumerate(marks):
        np.testing.assert_array_equal(packed.changed[1, side, : len(found)], found)
    np.testing.assert_array_equal(pairs.targets[:, :1], corrupted.targets)
    np.testing.assert_array_equal(corrupted.media.pixels[1], example.views["corrupted"].media.pixels)
