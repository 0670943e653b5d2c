"""Losses over a mixture of pairs and plain texts."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from align_jax.data.pack import TreePacker
from align_jax.losses import Objective
from align_jax.losses.dpo import dpo
from align_jax.losses.reference_kl import reference_kl
from align_jax.losses.text_nll import text_nll
from align_jax.losses.texts import PairsAndTextsBatch
from align_jax.types import Example, Pair, Prompt
from tests.losses import cases

# Rows: pair, text, pair, text, padding.
PAIRED, TEXT = np.array([1, 0, 1, 0, 0], np.float32), np.array([0, 1, 0, 1, 0], np.float32)


def mixed():
    """Masks [2, B, R] of a mixture, the last row of which is padding, and its batch."""
    mask = cases.mask()
    mask[1] *= PAIRED[:, None]
    return mask, PairsAndTextsBatch(None, PAIRED, TEXT)


def test_packing_takes_records_without_a_rejected_answer():
    prompt, ids = Prompt(np.array([1, 4], np.int32)), np.arange(5, 8, dtype=np.int32)
    examples = [Example("a", prompt, {"chosen": ids}), Example("b", prompt, {"chosen": ids[:1], "rejected": ids})]
    batch = PairsAndTextsBatch.pack(examples, TreePacker(3, 3, 4, pad_id=0))
    np.testing.assert_array_equal(batch.weight, [0, 1, 0])
    np.testing.assert_array_equal(batch.text_weight, [1, 0, 0])
    np.testing.assert_array_equal(batch.tree.mask.sum(-1), [[3, 0], [1, 3], [0, 0]])
    assert "rejected" not in examples[0].completions
    assert PairsAndTextsBatch.reads.completions == ("chosen",)


def test_hand_derived_values():
    # Row 0 is a text of two tokens, row 1 one of a single token, row 2 a pair, which does not count.
    mask = np.array([[[1, 1], [1, 0], [1, 1]], [[0, 0], [0, 0], [1, 1]]], np.float32)
    policy = np.array([[[-1, -2], [-6, 0], [-50, -50]], np.zeros((3, 2))])
    batch = PairsAndTextsBatch(None, *np.array([[0, 0, 1], [1, 1, 0]], np.float32))
    assert text_nll(cases.pair(policy, mask), None, batch)[0].value == 3  # (1 + 2 + 6) / 3 tokens
    assert text_nll(cases.pair(policy, mask), None, batch, reduction="sequence")[0].value == 4.5  # (3 + 6) / 2
    kl = jnp.asarray([[0.25, 0.5], [0.75, 0], [9, 9]])
    scores = cases.pair(policy, mask)
    scores = Pair(dataclasses.replace(scores.chosen, kl=kl), scores.rejected)
    mean, metrics = reference_kl(scores, scores, batch)
    assert mean.value == 0.75 and mean.count == 2  # sums of .75 over two texts
    assert metrics["kl"].value == 0.5  # 1.5 over three tokens
    with pytest.raises(ValueError, match="reduction"):
        text_nll(scores, None, batch, reduction="mean")


@pytest.mark.parametrize("reduction", ["token", "sequence"])
def test_value_and_gradient_of_text_nll_equal_the_formula(reduction):
    mask, batch = mixed()

    def expected(x):
        per_text = [x[0, row].sum() for row in (1, 3)]
        return -sum(per_text) / (mask[0, [1, 3]].sum() if reduction == "token" else 2)

    def loss(x):
        return text_nll(cases.pair(x, mask), None, batch, reduction=reduction)[0].value

    cases.check(loss, expected, cases.logps(mask), mask)


def test_value_and_gradient_of_reference_kl_equal_the_formula():
    mask, batch = mixed()
    rng = np.random.default_rng(5)
    logits, reference_logits = rng.normal(size=(2, *mask[0].shape, 6))

    def softmax(x):
        return np.exp(x) / np.exp(x).sum(-1, keepdims=True)

    def expected(x):
        p, q = softmax(reference_logits), softmax(x)
        kl = (p * (np.log(p) - np.log(q))).sum(-1) * mask[0]
        return kl[[1, 3]].sum() / 2

    def loss(x):
        own, other = jax.nn.log_softmax(x), jax.nn.log_softmax(jnp.asarray(reference_logits, jnp.float32))
        kl = (jnp.exp(other) * (other - own)).sum(-1) * mask[0]
        scores = cases.pair(cases.logps(mask), mask)
        scores = Pair(dataclasses.replace(scores.chosen, kl=kl), scores.rejected)
        return reference_kl(scores, cases.pair(cases.logps(mask, 2), mask), batch)[0].value

    cases.check(loss, expected, logits.astype(np.float32), np.ones(logits.shape))


def test_pairs_alone_are_what_a_loss_over_pairs_reads():
    mask, batch = mixed()
    policy, reference = cases.pair(cases.logps(mask, 1), mask), cases.pair(cases.logps(mask, 2), mask)
    mean, metrics = dpo(policy, reference, batch)
    only = [jax.tree.map(lambda x: x[jnp.asarray([0, 2])], scores) for scores in (policy, reference)]
    alone, _ = dpo(*only, PairsAndTextsBatch(None, *np.array([[1, 1], [0, 0]], np.float32)))
    np.testing.assert_allclose(mean.value, alone.value, rtol=1e-6)
    assert mean.count == metrics["rewards/chosen"].count == 2


def test_a_mixture_reads_the_batch_of_texts():
    objective = Objective.build([{"name": "dpo"}, {"name": "text_nll", "weight": 0.5}, {"name": "reference_kl"}])
    assert objective.batch is PairsAndTextsBatch and "kl" in objective.statistics
