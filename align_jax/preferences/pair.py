"""From scored responses to one prompt, to pairs of a chosen and a rejected one."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from align_jax.data.records import Record


class Choice(NamedTuple):
    """Indices of responses."""

    chosen: int
    rejected: int


def best_vs_worst(responses: Sequence[str], scores: Sequence[float], lengths: Sequence[int]) -> Choice | None:
    """The best response against the worst of the same length; None if no worse one is as long.

    Of pairs that differ in length, DPO learns the length: on F1 labels the chosen responses name more objects, and the
    policy soon lists things that are not there. Several best responses are told apart by how bad a rival they have.

    Args:
      responses: texts sampled for one prompt.
      scores: higher is better.
      lengths: number of mentions, or whatever else must be the same on both sides.

    Raises:
      ValueError: the arguments differ in length.
    """
    rows = list(zip(responses, scores, lengths, strict=True))
    top = max(scores, default=0.0)
    choices = [
        Choice(i, j)
        for (i, (text, best, size)), (j, (other, worse, as_long)) in itertools.permutations(enumerate(rows), 2)
        if best == top and worse < best and size == as_long and text != other
    ]
    return min(choices, key=lambda choice: scores[choice.rejected], default=None)


def all_pairs(responses: Sequence[str], scores: Sequence[float], margin: float = 0.0) -> list[Choice]:
    """Every pair whose scores differ by at least `margin`, as VLFeedback does (Li et al., 2023, arXiv:2312.10665).

    Ties and pairs of the same text are left out, whatever the margin. In the order of the responses.

    Raises:
      ValueError: there are not as many scores as responses, or the margin is negative.
    """
    if margin < 0:
        raise ValueError(f"margin {margin} is negative")
    rows = list(zip(responses, scores, strict=True))
    pairs = []
    for (i, (text, score)), (j, (other_text, other)) in itertools.combinations(enumerate(rows), 2):
        if score != other and abs(score - other) >= margin and text != other_text:
            pairs.append(Choice(i, j) if score > other else Choice(j, i))
    return pairs


def flip(records: Sequence[Record], fraction: float, seed: int = 0) -> list[Record]:
    """Swaps chosen and rejected in a share of the records: a control that must undo what the preference teaches.

    Args:
      records: with both answers.
      fraction: of the records that are swapped, rounded to a whole number; .5 leaves no preference at all.
      seed: of the choice of records.

    Returns:
      All records in order, with `meta["flipped"]` added.

    Raises:
      ValueError: `fraction` is not between 0 and 1, or a record has no rejected answer.
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction {fraction} is not between 0 and 1")
    if incomplete := [r.id for r in records if r.chosen is None or r.rejected is None]:
        raise ValueError(f"{len(incomplete)} records have only one answer to swap, the first is {incomplete[0]!r}")
    count = round(fraction * len(records))
    swapped = set(np.random.default_rng(seed).permutation(len(records))[:count].tolist())
    return [
        dataclasses.replace(_swapped(r) if i in swapped else r, meta={**r.meta, "flipped": i in swapped})
        for i, r in enumerate(records)
    ]


def _swapped(record: Record) -> Record:
    """Each answer keeps the pictures that it was given, and its marked parts; the last of ranked ones comes first."""
    images, other = record.images, record.rejected_images
    if other is not None:
        images, other = other, images
    names = {"chosen": "rejected", "rejected": "chosen"}
    return dataclasses.replace(
        record,
        chosen=record.rejected,
        rejected=record.chosen,
        images=images,
        rejected_images=other,
        spans={names.get(name, name): spans for name, spans in record.spans.items()},
        ranked=record.ranked[::-1],
    )
