import jax.numpy as jnp
import numpy as np
import pytest

from align_jax.losses import Objective
from align_jax.losses.opa_dpo import IMAGE_ERROR, RevisedBatch, RevisedTriple, opa_dpo
from align_jax.types import Span
from tests import tiny
from tests.losses import cases
from tests.losses.contract_test import batch_of

MASK = cases.mask(completions=3)[[0, 1, 2, 0, 2]]  # true, generated, revised; true and revised behind the masked image
RNG = np.random.default_rng(7)
WEIGHTS = RNG.choice([1.0, 1.5, 2.0, 2.5], (5, 2, 7)).astype(np.float32)
MISREAD = RNG.integers(0, 2, (5, 7)).astype(np.float32)


def triple(logps, mask=MASK):
    return RevisedTriple(*(cases.scores(logps[i], mask[i]) for i in range(5)))


def batch(weight=None, weights=WEIGHTS, misread=MISREAD):
    weight = cases.weight() if weight is None else weight
    return RevisedBatch(None, jnp.asarray(weight), None, jnp.asarray(weights), jnp.asarray(misread))


def softplus(x):
    return np.logaddexp(0, x)


# One token each and one position of padding. Log-ratios: true 2, generated -1, revised 1, masked 0.5 and -0.5.
HAND = [np.array([[[x, 0.0]] for x in xs]) for xs in ((-1, -4, -2, -1.5, -3.5), (-3, -3, -3, -2, -3))]
ONE = np.broadcast_to(np.array([[1.0, 0.0]]), (5, 1, 2))


def hand(**hyper):
    # The generated token weighs 2, the revised one 1.5, in the second pair alone; it mends the image: 3 in the fourth.
    marked = batch(np.ones(1), np.array([[[2.0, 1.0], [1.5, 1.0]]]), np.array([[1.0, 0.0]]))
    return opa_dpo(*(triple(x, ONE) for x in HAND), marked, **hyper)[0].value


def test_hand_derived_value_of_sequences():
    pairs = softplus(-0.1 * (2 + 1)) + softplus(-0.1 * (1.5 * 1 + 2 * 1))
    masked = softplus(-0.1 * (2 - 0.5)) + softplus(-0.1 * (3 * 1 + 3 * 0.5))
    anchors = softplus(-(0.2 - 0.05)) + softplus(-(0.1 - 0.05))
    np.testing.assert_allclose(hand(anchor=0.05), pairs + 0.2 * masked + anchors, rtol=1e-6)


def test_hand_derived_value_of_the_code():
    # The anchor of the revised answer has the other sign, both count twice, and the position of padding adds log 2 for
    # each of 2 + 2 * 0.2 + 4 terms, before the mean over two positions.
    pairs = softplus(-0.3) + softplus(-0.35) + 0.2 * (softplus(-0.15) + softplus(-0.45))
    anchors = 2 * softplus(-0.2) + 2 * softplus(0.1)
    np.testing.assert_allclose(hand(form="code"), (pairs + anchors + 6.4 * np.log(2)) / 2, rtol=1e-6)


def pairs(ratio):
    misread = 1 + 1.5 * MISREAD
    true, generated, revised, true_masked, revised_masked = ratio
    yield 1.0, true - generated
    yield 1.0, WEIGHTS[:, 1] * revised - WEIGHTS[:, 0] * generated
    yield 0.3, true - true_masked
    yield 0.3, misread * revised - misread * revised_masked


def test_value_and_gradient_of_sequences():
    policy, reference = cases.logps(MASK, 1), cases.logps(MASK, 2)

    def expected(x):
        ratio = x - reference
        value = sum(weight * softplus(-0.1 * margin.sum(-1)) for weight, margin in pairs(ratio))
        value = value + 0.6 * (softplus(0.2 - 0.1 * ratio[0].sum(-1)) + softplus(0.2 - 0.1 * ratio[2].sum(-1)))
        return value[:4].mean()

    hyper = dict(image_weight=0.3, image_error_weight=2.5, anchor=0.2, anchor_weight=0.6)
    cases.check(lambda x: opa_dpo(triple(x), triple(reference), batch(), **hyper)[0].value, expected, policy, MASK)


def test_value_and_gradient_of_the_code():
    policy, reference = cases.logps(MASK, 1), cases.logps(MASK, 2)

    def expected(x):
        ratio = x - reference
        value = sum(weight * softplus(-0.1 * margin)[:4].mean() for weight, margin in pairs(ratio))
        rewards = [0.1 * ratio[i] for i in (0, 2, 0, 2)]
        signs = (1, -1, 1, -1)
        return value + sum(0.6 * softplus(-s * (r - 0.2))[:4].mean() for s, r in zip(signs, rewards, strict=True))

    hyper = dict(image_weight=0.3, image_error_weight=2.5, anchor=0.2, anchor_weight=0.6, form="code")
    cases.check(lambda x: opa_dpo(triple(x), triple(reference), batch(), **hyper)[0].value, expected, policy, MASK)


def test_padding_counts_in_the_code_form_alone():
    wider = np.pad(MASK, [(0, 0), (0, 0), (0, 5)])
    weights, misread = (np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, 5)], constant_values=1) for x in (WEIGHTS, MISREAD))
    policy, reference = cases.logps(MASK, 1), cases.logps(MASK, 2)
    values = {}
    for form in ("sequence", "code"):
        values[form] = opa_dpo(triple(policy), triple(reference), batch(), form=form)[0].value
        padded = (triple(np.pad(x, [(0, 0), (0, 0), (0, 5)]), wider) for x in (policy, reference))
        values[form + "/wider"] = opa_dpo(*padded, batch(None, weights, misread), form=form)[0].value
    np.testing.assert_allclose(values["sequence"], values["sequence/wider"], rtol=1e-6)
    log_two = (2 + 0.4 + 4) * np.log(2)
    np.testing.assert_allclose(values["code/wider"], (7 * values["code"] + 5 * log_two) / 12, rtol=1e-5)


def test_another_form_is_an_error():
    with pytest.raises(ValueError, match="other"):
        opa_dpo(triple(MASK), triple(MASK), batch(), form="other")


def test_pack_reads_weights_from_spans():
    examples = tiny.examples(3)
    for example in examples:
        example.completions["revised"] = example.completions["chosen"][::-1]
        example.spans = {}
    examples[1].spans = {
        "revised": [Span(1, 3, 2.5), Span(2, 4, IMAGE_ERROR), Span(0, 1, "language_comprehension_error")],
        "rejected": [Span(0, 2, 1.5)],
        "chosen": [Span(0, 2, 9.0)],
    }
    packed = batch_of(Objective.build({"name": "opa_dpo"}), examples, rows=4)
    assert packed.weights[1].tolist() == [[1.5, 1.5, 1, 1, 1, 1, 1, 1], [1, 2.5, 2.5, 1, 1, 1, 1, 1]]
    assert packed.misread[1].tolist() == [0, 0, 1, 1, 0, 0, 0, 0]
    assert (packed.weights[jnp.array([0, 2, 3])] == 1).all() and packed.misread.sum() == 2
    tree, masked = packed.trees()
    np.testing.assert_array_equal(tree.targets[:, [0, 2]], masked.targets)
    np.testing.assert_array_equal(masked.media.pixels[1], examples[1].views["corrupted"].media.pixels)
