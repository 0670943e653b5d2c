import jax
import numpy as np

from align_jax.data.pack import TreePacker
from align_jax.losses import Objective
from align_jax.losses.halva import PhraseBatch, halva
from align_jax.types import Example, Prompt, Span
from tests.losses import cases


def run(policy, mask, weight, phrases):
    return halva(cases.pair(policy, mask), None, PhraseBatch(None, weight, 0 * weight, np.asarray(phrases, np.int32)))


def test_hand_derived_value():
    # Phrase 1: correct -1 - 2 = -3, hallucinated -1, difference 2. Phrase 2: correct -1, hallucinated -3: -2.
    policy = np.array([[[-1.0, -2.0, -9.0, -1.0]], [[-1.0, -8.0, -3.0, -7.0]]])
    mean, metrics = run(policy, np.ones(policy.shape), np.ones(1), [[[1, 1, 0, 2], [1, 0, 2, 0]]])
    np.testing.assert_allclose(mean.value, (np.log1p(np.exp(2.0)) + np.log1p(np.exp(-2.0))) / 2, rtol=1e-6)
    assert mean.count == 2 and metrics["rewards/accuracies"].value == 0.5
    assert metrics["phrase_logps/chosen"].value == -2 and metrics["phrase_logps/rejected"].value == -2


def test_a_phrase_without_partner_does_not_count():
    policy = np.array([[[-1.0, -2.0]], [[-3.0, -4.0]]])
    phrases = [[[1, 2], [1, 0]]]
    mean, _ = run(policy, np.ones(policy.shape), np.ones(1), phrases)
    np.testing.assert_allclose(mean.value, np.log1p(np.exp(-2.0)), rtol=1e-6)
    assert mean.count == 1
    for side in range(2):  # on which all tokens of phrase 1 are padding
        mask = np.ones(policy.shape)
        mask[side, 0, 0] = 0
        assert run(policy, mask, np.ones(1), phrases)[0].count == 0


def random_phrases(mask, seed=3):
    return np.moveaxis(np.random.default_rng(seed).integers(0, 3, mask.shape), 0, 1)  # [B, 2, R]


def test_value_and_gradient_equal_the_formula():
    mask, weight = cases.mask(seed=4, length=12), cases.weight()
    policy, phrases = cases.logps(mask), random_phrases(mask)

    def expected(x):
        losses = []
        for row in range(4):
            for phrase in (1, 2):
                inside = [(phrases[row, side] == phrase) & (mask[side, row] > 0) for side in range(2)]
                if all(tokens.any() for tokens in inside):
                    correct, wrong = (x[side, row, tokens].sum() for side, tokens in enumerate(inside))
                    losses.append(np.log(1 + np.exp(wrong - correct)))
        assert len(losses) > 3
        return np.mean(losses)

    cases.check(lambda x: run(x, mask, weight, phrases)[0].value, expected, policy, mask)


def test_a_hopeless_phrase_gives_a_finite_loss_and_gradient():
    # log(1 + exp(500)) overflows if it is written as it stands.
    policy = np.array([[[-500.0]], [[-0.0]]], np.float32)
    value, grad = jax.value_and_grad(lambda x: run(x, np.ones((2, 1, 1)), np.ones(1), [[[1], [1]]])[0].value)(policy)
    np.testing.assert_allclose(value, 500)
    np.testing.assert_allclose(grad.ravel(), [-1, 1])


def example(name, lengths, **spans):
    sides = zip(("chosen", "rejected"), lengths, strict=False)
    ids = {side: np.arange(5, 5 + size, dtype=np.int32) for side, size in sides}
    return Example(
        name, Prompt(np.array([1, 4], np.int32)), ids, spans={k: [Span(*s) for s in v] for k, v in spans.items()}
    )


def test_phrases_are_numbered_in_order_and_plain_texts_have_none():
    examples = [example("a", (5, 4), chosen=[(0, 2), (3, 4)], rejected=[(1, 2), (2, 4)]), example("b", (3,))]
    batch = PhraseBatch.pack(examples, TreePacker(3, 3, 6, pad_id=0))
    np.testing.assert_array_equal(batch.phrases[0], [[1, 1, 0, 2, 0, 0], [0, 1, 2, 2, 0, 0]])
    assert not batch.phrases[1:].any()
    np.testing.assert_array_equal(batch.weight, [1, 0, 0])
    np.testing.assert_array_equal(batch.text_weight, [0, 1, 0])


def test_records_without_phrases_or_with_unordered_ones_are_refused():
    check = PhraseBatch.reads.check
    whole = dict(chosen=[(0, 2), (3, 4)], rejected=[(1, 2), (2, 4)])
    assert check(example("a", (5, 4), **whole)) == check(example("b", (3,))) == ""
    assert "'spans' of 'chosen' are not in the order" in check(
        example("a", (5, 4), **whole | {"chosen": [(3, 4), (0, 2)]})
    )
    assert "'spans' of 'rejected' are missing" in check(example("a", (5, 4), chosen=[(0, 2)]))


def test_it_mixes_with_the_divergence_on_plain_texts():
    terms = [{"name": "halva"}, {"name": "reference_kl", "weight": 0.4}]
    assert Objective.build(terms).batch is PhraseBatch
