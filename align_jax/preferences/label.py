"""Scores of sampled captions against what is known to be there: the labels that pairs are made from."""

import collections
from collections.abc import Collection, Sequence
from typing import NamedTuple


class Label(NamedTuple):
    """How well one response lists the objects of an image."""

    hallucinated: int  # mentions of absent objects, and malformed ones
    mentions: int  # all, malformed ones included
    recall: float  # share of the objects that are mentioned
    f1: float  # of precision and recall over multisets, where a repeated or malformed mention is an error

    @property
    def hallucination_rate(self) -> float:
        """Share of the mentions that are hallucinated; 0 for a response without any."""
        return self.hallucinated / self.mentions if self.mentions else 0.0


def label(mentions: Sequence[str | None], truth: Collection[str]) -> Label:
    """Scores one response.

    F1 is the score to rank responses by. The number of hallucinations is not: saying less always lowers it.

    Args:
      mentions: names of the objects that the response mentions, in any order, with repeats; None for a malformed
      mention.
      truth: the objects of the image, with repeats if an object is there twice.

    Raises:
      ValueError: there is no object to mention.
    """
    if not truth:
        raise ValueError("a response about no object cannot be scored: leave the prompt out")
    hits = sum((collections.Counter(mentions) & collections.Counter(truth)).values())
    return Label(
        hallucinated=sum(m not in truth for m in mentions),
        mentions=len(mentions),
        recall=hits / len(truth),
        f1=2 * hits / (len(mentions) + len(truth)),
    )
