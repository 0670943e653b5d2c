import dataclasses
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from align_jax.data.pack import TreePacker
from align_jax.losses.adpo import AdversarialBatch, AdversarialPair, adpo, attack
from align_jax.types import Patches, Scores, Tiles
from tests import tiny
from tests.losses import cases

MASK = cases.mask()[[0, 1, 0]]  # chosen; rejected and chosen behind the adversarial image


def pair(logps):
    return AdversarialPair(*(cases.scores(logps[i], MASK[i]) for i in range(3)))


def test_hand_derived_value():
    # Log-ratios: chosen on the clean image 2, rejected on the adversarial one -1. Logit 0.1 * 3.
    # The chosen answer on the adversarial image has two tokens of -1 and -2: NLL 1.5 per token.
    ones = np.ones((1, 2))
    adversarial = cases.scores(np.array([[-1.0, -2.0]]), ones)
    policy = AdversarialPair(cases.totals(-1.0), cases.totals(-4.0), adversarial)
    reference = AdversarialPair(cases.totals(-3.0), cases.totals(-3.0), adversarial)
    mean, metrics = adpo(policy, reference, AdversarialBatch(None, jnp.ones(1), None), beta=0.1, lam=2.0)
    np.testing.assert_allclose(mean.value, np.log1p(np.exp(-0.3)) + 2 * 1.5, rtol=1e-6)
    assert metrics["logps/chosen_adversarial"].value == -3.0


def test_value_and_gradient_equal_the_formula():
    policy, reference = cases.logps(MASK, 1), cases.logps(MASK, 2)
    batch = AdversarialBatch(None, jnp.asarray(cases.weight()), None)

    def expected(x):
        chosen, rejected = (x - reference).sum(-1)[:2, :4]
        nll = -(x[2].sum(-1) / MASK[2].sum(-1))[:4]  # 1 / T of each answer, then the mean over rows
        return (np.logaddexp(0, -(0.3 * chosen - 0.3 * rejected)) + 0.7 * nll).mean()

    cases.check(lambda x: adpo(pair(x), pair(reference), batch, beta=0.3, lam=0.7)[0].value, expected, policy, MASK)


def packed(examples, items=2):
    """With one tile of each row and one of padding."""
    packer = TreePacker(4, 12, 8, pad_id=0, empty=Tiles(np.zeros((0, 8, 8, 3), np.float32)), items=items)
    return jax.tree.map(jnp.asarray, AdversarialBatch.pack(examples, packer))


def linear(slope):
    """A model to which every token of an answer is as likely as `slope` times the pixels says."""

    def scores(tree):
        pixels = tree.media.pixels
        per_row = jnp.sum(slope * pixels, axis=tuple(range(1, pixels.ndim)))
        return Scores(per_row[:, None, None] * tree.mask, tree.mask)

    return scores


def never(tree):
    raise AssertionError("the reference sees what the policy was attacked with")


SLOPE = np.random.default_rng(0).normal(size=(1, 2, 8, 8, 3)).astype(np.float32)
SLOPE[:, :, :2] = 0.0  # pixels that the model does not see


@pytest.mark.parametrize("steps, moved", [(0, 0.0), (2, 0.04), (5, 0.05)])
def test_the_attack_goes_against_the_chosen_answer_and_stays_within_the_radius(steps, moved):
    # d NLL / d pixel = -(number of tokens) * slope: each step of 0.02 goes by -sign(slope), up to 0.05 in all.
    batch = packed(tiny.examples(3))
    clean = np.asarray(batch.tree.media.pixels)
    ours, theirs = attack(batch, linear(SLOPE), never, radius=0.05, step_size=0.02, steps=steps)
    assert ours is theirs
    expected = clean - moved * np.sign(SLOPE) * np.array([1, 1, 1, 0]).reshape(4, 1, 1, 1, 1)
    expected[:, 1] = 0  # the tile of padding
    np.testing.assert_allclose(ours.adversarial.media.pixels, expected, atol=1e-6)
    np.testing.assert_array_equal(ours.tree.media.pixels, clean)
    np.testing.assert_array_equal(ours.adversarial.targets, batch.adversarial.targets)


def test_it_attacks_the_chosen_answer_not_the_rejected_one():
    # Rows of the tree with the chosen answer have K = 1; were the other tree scored, K = 2 would be seen.
    seen = []

    def scores(tree):
        seen.append(tree.targets)
        return linear(SLOPE)(tree)

    batch = packed(tiny.examples(3))
    attack(batch, scores, never, radius=0.1, step_size=0.1, steps=1)
    np.testing.assert_array_equal(seen[0], batch.tree.targets)


def test_the_attack_raises_the_nll_of_a_model_that_is_not_linear():
    batch = packed(tiny.examples(3))

    def scores(tree):
        at = jnp.tanh(tree.media.pixels).mean((1, 2, 3, 4))[:, None, None]
        return Scores(-jnp.square(at - 0.01) * tree.mask, tree.mask)

    ours, _ = attack(batch, scores, never, radius=0.1, step_size=0.02, steps=6)
    attacked = dataclasses.replace(batch.tree, media=ours.adversarial.media)
    before, after = (-scores(tree).total[:3, 0] for tree in (batch.tree, attacked))
    assert (after > before).all()
    assert jnp.abs(ours.adversarial.media.pixels - batch.tree.media.pixels).max() <= 0.1 + 1e-6


def test_patches_are_attacked_likewise():
    batch = packed(tiny.examples(3))
    pixels = np.random.default_rng(1).normal(size=(4, 6, 5)).astype(np.float32)
    pixels[:, 4:] = 0  # padding
    places = jnp.zeros((4, 6, 2), jnp.int32)
    media = Patches(jnp.asarray(pixels), jnp.asarray([[1] * 4 + [0] * 2] * 4), places, places, jnp.zeros((4, 3)))
    behind = lambda tree: dataclasses.replace(tree, media=media)  # noqa: E731
    batch = dataclasses.replace(batch, tree=behind(batch.tree), adversarial=behind(batch.adversarial))
    slope = np.random.default_rng(2).normal(size=(1, 6, 5)).astype(np.float32)
    ours, _ = attack(batch, linear(slope), never, radius=0.1, step_size=0.1, steps=1)
    expected = pixels - 0.1 * np.sign(slope) * np.array([1, 1, 1, 0]).reshape(4, 1, 1)
    expected[:, 4:] = 0
    np.testing.assert_allclose(ours.adversarial.media.pixels, expected, atol=1e-6)


def test_no_gradient_passes_through_the_attack():
    batch = packed(tiny.examples(3))

    def total(slope):
        ours, _ = attack(batch, linear(slope), never, radius=0.5, step_size=0.1, steps=2)
        return ours.adversarial.media.pixels.sum()

    assert jnp.abs(jax.grad(total)(jnp.asarray(SLOPE))).max() == 0


def test_without_pictures_there_is_nothing_to_attack():
    batch = packed(tiny.examples(3))
    batch = dataclasses.replace(batch, adversarial=dataclasses.replace(batch.adversarial, media=None))
    with pytest.raises(ValueError, match="pictures"):
        attack(batch, never, never, radius=0.1, step_size=0.1, steps=1)


def test_both_trees_begin_with_the_clean_image():
    examples = tiny.examples(3)
    batch = packed(examples)
    clean, adversarial = batch.trees()
    np.testing.assert_array_equal(clean.media.pixels, adversarial.media.pixels)
    np.testing.assert_array_equal(clean.targets, adversarial.targets[:, 1:])
    rejected = examples[1].completions["rejected"]
    np.testing.assert_array_equal(adversarial.targets[1, 0, : len(rejected)], rejected)
    hyper = {name for name, p in inspect.signature(attack).parameters.items() if p.kind is p.KEYWORD_ONLY}
    assert hyper <= set(inspect.signature(adpo).parameters)  # those of the attack are set as the loss's
