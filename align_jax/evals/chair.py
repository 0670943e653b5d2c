"""CHAIR: how much of what a caption mentions is not there (Rohrbach et al., 2018, arXiv:1809.02156).

  CHAIR_i = mentions of absent objects / mentions        repeats count; sums over the corpus, not a mean of rates
  CHAIR_s = captions with such a mention / captions

Lower is better, and saying nothing is best, so that recall and the number of mentions belong beside them. Captions are
read by `mentions.mentions` (strict) or by `synonyms.Synonyms` (official); only the names of the objects are needed
here.
"""

import collections
import dataclasses
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np


@dataclasses.dataclass(frozen=True)
class Counts:
    """What CHAIR is made of, for each of n captions; every metric is a ratio of two sums of these (intervals.py)."""

    mentioned: np.ndarray  # i64[n]
    hallucinated: np.ndarray  # i64[n], mentions of absent objects, and malformed ones if strict
    malformed: np.ndarray  # i64[n], mentions that name no known object; 0 unless strict
    present: np.ndarray  # i64[n], different objects that are there
    covered: np.ndarray  # i64[n], of these, those that are mentioned
    exact: np.ndarray  # bool[n], every object mentioned as often as it is there, and nothing else


class Chair(NamedTuple):
    """Fractions between 0 and 1, except for `mentions`. A fraction of nothing is 0."""

    chair_i: float
    chair_s: float
    recall: float  # over sets of objects, and the corpus
    exact: float  # share of captions
    malformed: float  # share of mentions
    mentions: float  # per caption


def count(mentions: Sequence[Sequence[str | None]], truth: Sequence[Collection[str]], strict: bool = True) -> Counts:
    """Counts mentions, caption by caption.

    Args:
      mentions: names of the objects that each caption mentions, with repeats; None stands for a malformed mention.
      truth: the objects that are there. A repeated one counts twice for `exact` only.
      strict: count malformed mentions as hallucinated. If not, they are skipped as though they were not written, which
        is the official behaviour and can be gamed.

    Raises:
      ValueError: there are not as many captions as truths.
    """
    rows = []
    for said, there in zip(mentions, truth, strict=True):
        named = [m for m in said if m is not None]
        malformed = len(said) - len(named) if strict else 0
        absent = sum(m not in there for m in named)
        exact = not malformed and collections.Counter(named) == collections.Counter(there)
        covered = len(set(named) & set(there))
        rows.append((len(named) + malformed, absent + malformed, malformed, len(set(there)), covered, exact))
    columns = np.array(rows, np.int64).reshape(-1, 6).T
    return Counts(*columns[:5], exact=columns[5].astype(bool))


def chair(mentions: Sequence[Sequence[str | None]], truth: Sequence[Collection[str]], strict: bool = True) -> Chair:
    """CHAIR of a corpus of captions; arguments and errors as for `count`.

    Where no caption mentions anything, CHAIR is 0 (the official code divides by zero), and so is recall.
    """
    c = count(mentions, truth, strict)
    captions, mentioned = len(c.mentioned), c.mentioned.sum()
    return Chair(
        chair_i=_ratio(c.hallucinated.sum(), mentioned),
        chair_s=_ratio((c.hallucinated > 0).sum(), captions),
        recall=_ratio(c.covered.sum(), c.present.sum()),
        exact=_ratio(c.exact.sum(), captions),
        malformed=_ratio(c.malformed.sum(), mentioned),
        mentions=_ratio(mentioned, captions),
    )


def _ratio(part: int, whole: int) -> float:
    return float(part) / float(whole) if whole else 0.0
