"""HALVA: a correct phrase against the hallucinated one in its place. Data-augmented phrase-level alignment (DPA),
Sarkar et al. 2024, https://arxiv.org/abs/2405.18654."""

from collections.abc import Sequence
from typing import ClassVar

import jax
import numpy as np
from jax.nn import softplus

from align_jax.losses.base import loss
from align_jax.losses.segments import number_tokens, sum_by_number
from align_jax.losses.texts import PairsAndTextsBatch
from align_jax.types import Example, Mean, Metrics, PackTree, Pair, Scores, pytree


def wrong_phrases(example: Example) -> str:
    if "rejected" not in example.completions:  # a plain text
        return ""
    for name in ("chosen", "rejected"):
        spans = example.spans.get(name, [])
        if not spans:
            return f"'spans' of {name!r} are missing, and the method needs those of both answers: mark their phrases"
        # Else partners would get lost where the tail of an answer is cut off.
        if any(span.start > following.start for span, following in zip(spans, spans[1:], strict=False)):
            return f"'spans' of {name!r} are not in the order of the text: sort them, and their partners"
    return ""


@pytree
class PhraseBatch(PairsAndTextsBatch):
    """Pairs with marked phrases: the n-th of `spans["rejected"]` stands where the n-th of `spans["chosen"]` was right.

    A phrase without its partner, which may have been cut off, does not count.
    """

    reads: ClassVar = PairsAndTextsBatch.reads._replace(check=wrong_phrases)
    phrases: jax.Array  # i32[B, 2, R] number of the phrase of chosen, rejected that a token is in, from 1; 0 in none

    @classmethod
    def pack(cls, examples: Sequence[Example], pack_tree: PackTree) -> "PhraseBatch":
        phrases = np.zeros((pack_tree.batch_size, 2, pack_tree.completion_length), np.int32)
        for example, row in zip(examples, phrases, strict=False):
            for numbers, name in zip(row, ("chosen", "rejected"), strict=True):
                numbers[:] = number_tokens(example.spans.get(name, ()), len(numbers))
        pairs = PairsAndTextsBatch.pack(examples, pack_tree)
        return cls(pairs.tree, pairs.weight, pairs.text_weight, phrases)


@loss(batch=PhraseBatch, needs_reference=False)
def halva(policy: Pair[Scores], reference: None, batch: PhraseBatch) -> tuple[Mean, Metrics]:
    """log(1 + exp(log pi(hallucinated phrase) - log pi(correct phrase))), averaged over the phrase pairs of the batch.

    The log-probability of a phrase is the sum over its tokens; there is neither a reference nor a beta. The other term
    of HALVA is the loss `reference_kl`. The released code averages over rows times the largest number of phrases in a
    row, missing ones counting log 2: with one row on each device the same as here, else a weaker gradient.

    Args:
      policy: scores f32[B, R] of both completions.
      reference: not read.
      batch: marks phrases and weights rows.
    """
    sides = policy.chosen, policy.rejected
    correct, hallucinated = (sum_by_number(s.logps, batch.phrases[:, k]) for k, s in enumerate(sides))
    tokens, other = (sum_by_number(s.mask, batch.phrases[:, k]) for k, s in enumerate(sides))
    paired = ((tokens > 0) & (other > 0)) * batch.weight[:, None]  # f32[B, R], entry n is of pair n + 1
    return Mean.of(softplus(hallucinated - correct), paired), {
        "phrase_logps/chosen": Mean.of(correct, paired),
        "phrase_logps/rejected": Mean.of(hallucinated, paired),
        "rewards/accuracies": Mean.of((correct > hallucinated).astype(correct.dtype), paired),
    }
