import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from align_jax import losses
from align_jax.losses.contrastive_po import Candidates, ContrastiveBatch, contrastive_po, divergence
from align_jax.types import Scores
from tests import tiny
from tests.losses import cases
from tests.losses.contract_test import batch_of

K, ROWS, R = 4, 5, 3
WEIGHT = cases.weight(ROWS)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def batch(weight=WEIGHT) -> ContrastiveBatch:
    return ContrastiveBatch(None, jnp.asarray(weight), None)


def candidates(attacked, clean, present) -> Candidates:
    """From log-probabilities [B, K] of whole texts, as a dual encoder gives them: at the first token of three."""

    def at_first(x):
        return jnp.pad(jnp.asarray(x, jnp.float32)[..., None], [(0, 0)] * np.ndim(x) + [(0, R - 1)])

    ones = jnp.ones(len(attacked))
    pair = (Scores(at_first(attacked[:, k]), at_first(ones)) for k in range(2))
    return Candidates(*pair, Scores(at_first(jnp.where(present, clean, 0.0)), at_first(present)))


def log_softmax(x, present):
    """In float64; 0 for absent ones, whose probability is taken to be 0."""
    e = np.exp(x) * present
    return np.where(present > 0, x - np.log(e.sum(-1, keepdims=True)), 0.0)


def random_case(seed=0):
    """Log-probabilities [ROWS, K] for attacked and clean pictures under two models, and which candidates there are."""
    rng = np.random.default_rng(seed)
    present = (np.arange(K) < rng.integers(2, K + 1, (ROWS, 1))).astype(np.float64)
    present[0] = [1, 1, 0, 0]
    policy, reference = (log_softmax(rng.normal(0, 2, (2, ROWS, K)), present) for _ in range(2))
    return policy, reference, present


def expected(policy, reference, present, kind, beta, lam, zero=None):
    """The paper's loss, written for arrays [attacked or clean, row, candidate]; the last row is padding."""
    policy, reference, present = policy[:, :-1], reference[:, :-1], present[:-1]
    theirs = np.exp(reference[1]) * present
    kl = (theirs * (reference[1] - policy[1])).sum() / len(present)
    ratio = policy[0] - reference[0]
    h = ratio[:, 0] - ratio[:, 1]
    if kind == "dpo":
        preference = -np.log(sigmoid(beta * h))
    elif kind == "ipo":
        preference = (h - 1 / (2 * beta)) ** 2
    else:
        zero = kl if zero is None else zero  # given as a constant where gradients are taken
        good, bad = 1 - sigmoid(beta * (ratio[:, 0] - zero)), 1 - sigmoid(beta * (zero - ratio[:, 1]))
        preference = np.concatenate([good, bad]).reshape(2, -1).mean(0)
    return preference.mean() + lam * kl


def test_hand_derived_value():
    # Attacked: the policy picks chosen, rejected, a third with 1/2, 1/4, 1/4; the reference with 1/4, 1/2, 1/4.
    # The ratios are 2 and 1/2, so the margin is log 4 and -log sigmoid(log 4) = log(5/4).
    # Clean: 1/2, 1/4, 1/4 against 1/4, 1/4, 1/2 of the reference: KL = 1/4 log(1/2) + 1/2 log 2 = log(2) / 4.
    a, b, c = np.log([[0.5, 0.25, 0.25]]), np.log([[0.25, 0.5, 0.25]]), np.log([[0.25, 0.25, 0.5]])
    here = np.ones((1, 3))
    policy, reference = candidates(a, a, here), candidates(b, c, here)
    kl = np.log(2) / 4
    mean, metrics = contrastive_po(policy, reference, batch(np.ones(1)), beta=1.0, lam=2.0)
    np.testing.assert_allclose(mean.value, np.log(5 / 4) + 2 * kl, rtol=1e-6)
    np.testing.assert_allclose(metrics["kl"].value, kl, rtol=1e-6)
    np.testing.assert_allclose(metrics["rewards/margins"].value, np.log(4), rtol=1e-6)
    # IPO with tau 1/2 draws the margin to 1. KTO: ratios log 2 and -log 2 around kl, half of each.
    mean, _ = contrastive_po(policy, reference, batch(np.ones(1)), kind="ipo", beta=0.5, lam=0.0)
    np.testing.assert_allclose(mean.value, (np.log(4) - 1) ** 2, rtol=1e-6)
    mean, _ = contrastive_po(policy, reference, batch(np.ones(1)), kind="kto", beta=1.0, lam=0.0)
    half = (sigmoid(kl - np.log(2)) + sigmoid(-np.log(2) - kl)) / 2
    np.testing.assert_allclose(mean.value, half, rtol=1e-6)


def test_log_probabilities_of_long_texts_are_summed():
    # Of a language model: ratios 2 + 1 and -1 + 0, so the margin is 4, which IPO with tau 1/8 asks for.
    scores = lambda *logps: Scores(jnp.array([logps]), jnp.ones((1, 2)))  # noqa: E731
    clean = candidates(np.zeros((1, 2)), np.zeros((1, 2)), np.ones((1, 2))).clean
    policy, reference = (
        Candidates(scores(*chosen), scores(*rejected), clean)
        for chosen, rejected in (((-1.0, -1.0), (-3.0, -2.0)), ((-3.0, -2.0), (-2.0, -2.0)))
    )
    mean, _ = contrastive_po(policy, reference, batch(np.ones(1)), kind="ipo", beta=1 / 8)
    np.testing.assert_allclose(mean.value, 0.0, atol=1e-6)


@pytest.mark.parametrize(("kind", "beta", "lam"), [("dpo", 0.7, 0.5), ("ipo", 0.2, 0.5), ("kto", 1.5, 0.3)])
def test_value_and_gradient_equal_an_independent_one(kind, beta, lam):
    policy, reference, present = random_case()

    def ours(logps):
        return contrastive_po(
            candidates(logps[0], logps[1], present),
            candidates(reference[0], reference[1], present),
            batch(),
            kind=kind,
            beta=beta,
            lam=lam,
        )[0].value

    # Of a dual encoder, probabilities add up to 1 whatever the parameters do; logits are what moves.
    def through_softmax(logits):
        rest = jnp.where(present > 0, logits, -1e30)
        return ours(jnp.where(present > 0, jax.nn.log_softmax(rest), 0.0))

    def theirs(logits, zero=None):
        return expected(log_softmax(logits, present), reference, present, kind, beta, lam, zero)

    np.testing.assert_allclose(ours(jnp.asarray(policy, jnp.float32)), theirs(policy), rtol=1e-5)
    clean = np.exp(reference[1, :-1]) * present[:-1] * (reference[1, :-1] - policy[1, :-1])
    theirs_at_zero = functools.partial(theirs, zero=clean.sum() / (ROWS - 1))
    cases.check(through_softmax, theirs_at_zero, policy.astype(np.float32), present[None] * np.ones((2, 1, 1)))


@pytest.mark.parametrize("kind", ["dpo", "ipo", "kto"])
def test_no_gradient_reaches_the_reference_or_padding(kind):
    policy, reference, present = random_case()

    def ours(policy, reference):
        sides = (candidates(x[0], x[1], present) for x in (policy, reference))
        return contrastive_po(*sides, batch(), kind=kind)[0].value

    grads, to_reference = jax.grad(ours, argnums=(0, 1))(*(jnp.asarray(x, jnp.float32) for x in (policy, reference)))
    assert not np.any(to_reference) and not np.any(grads[:, -1]) and np.any(grads[:, :-1])
    assert not np.any(np.asarray(grads) * (1 - present))


def test_the_divergence_is_of_the_reference_from_the_policy():
    # KL(q : p), q being the reference; KL(p : q) is another number.
    p, q, here = np.array([0.7, 0.2, 0.1]), np.array([0.3, 0.3, 0.4]), np.ones((1, 3))
    policy, reference = (candidates(np.log([x]), np.log([x]), here) for x in (p, q))
    found = divergence(policy.clean, reference.clean)
    np.testing.assert_allclose(found, [(q * np.log(q / p)).sum()], rtol=1e-5)
    assert abs(found[0] - (p * np.log(p / q)).sum()) > 0.02


def test_settings_left_out_are_those_of_the_kind():
    policy, reference, present = random_case()
    sides = [candidates(x[0], x[1], present) for x in (policy, reference)]
    for kind, (beta, lam) in {"dpo": (1.0, 1.0), "ipo": (0.01, 0.01), "kto": (1.5, 0.01)}.items():
        given = contrastive_po(*sides, batch(), kind=kind, beta=beta, lam=lam)[0].value
        assert contrastive_po(*sides, batch(), kind=kind)[0].value == given
    with pytest.raises(ValueError, match="dpo, ipo, kto"):
        contrastive_po(*sides, batch(), kind="ppo")


def test_both_trees_hold_all_candidates_and_mask_those_that_are_missing():
    examples = tiny.examples(3)
    made = batch_of(losses.Objective.build({"name": "contrastive_po"}), examples, rows=4)
    attacked, clean = made.trees()
    np.testing.assert_array_equal(attacked.targets, clean.targets)
    np.testing.assert_array_equal(attacked.mask, clean.mask)
    assert attacked.mask.shape[1] == 2 + ContrastiveBatch.reads.ranked
    for row, example in enumerate(examples):
        texts = [example.completions["chosen"], example.completions["rejected"], *example.ranked]
        for k, text in enumerate(texts):
            np.testing.assert_array_equal(attacked.targets[row, k, : len(text)], text)
        lengths = [len(text) for text in texts] + [0] * (attacked.mask.shape[1] - len(texts))
        np.testing.assert_array_equal(attacked.mask[row].sum(-1), lengths)
        np.testing.assert_array_equal(attacked.media.pixels[row], example.prompt.media.pixels)
        np.testing.assert_array_equal(clean.media.pixels[row], example.views["clean"].media.pixels)
        assert np.any(attacked.media.pixels[row] != clean.media.pixels[row])
    assert not np.any(attacked.mask[3]) and made.weight.tolist() == [1, 1, 1, 0]
    grouped = made.group(tuple(Scores(tree.targets.astype(jnp.float32), tree.mask) for tree in made.trees()))
    np.testing.assert_array_equal(grouped.chosen.logps, attacked.targets[:, 0])
    np.testing.assert_array_equal(grouped.rejected.logps, attacked.targets[:, 1])
    np.testing.assert_array_equal(grouped.clean.logps, clean.targets)
