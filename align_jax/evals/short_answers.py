"""Accuracy of short answers ("yes", "teal", "circle"), over all questions and over groups of them.

Made for the official easy-VQA questions, grouped by polarity: affirmative ones are mostly answered "no", negated ones
mostly "yes", and a rule that never looks scores about 82 % on both. A blind baseline is the same scorer on the answers
that a model gives without the image.
"""

from collections.abc import Sequence

import numpy as np


def correct(answers: Sequence[str], truth: Sequence[str]) -> np.ndarray:
    """bool[n]: whether each answer is the true one, up to case, white space around it and a final full stop.

    Raises:
      ValueError: there are not as many answers as truths.
    """
    return np.array([_plain(a) == _plain(t) for a, t in zip(answers, truth, strict=True)], bool)


def accuracy(answers: Sequence[str], truth: Sequence[str], groups: Sequence[str] | None = None) -> dict[str, float]:
    """Shares of correct answers: "overall", and one for each group that occurs.

    Args:
      answers: what the model said.
      truth: what is right.
      groups: the group of each question, such as its polarity.

    Raises:
      ValueError: the arguments differ in length, or are empty.
    """
    right = correct(answers, truth)
    if not len(right):
        raise ValueError("there are no answers to score")
    shares = {"overall": float(right.mean())}
    if groups is not None:
        if len(groups) != len(right):
            raise ValueError(f"{len(right)} answers, but {len(groups)} groups")
        member = np.array(groups)
        shares |= {str(g): float(right[member == g].mean()) for g in np.unique(member)}
    return shares


def _plain(text: str) -> str:
    return text.strip().removesuffix(".").strip().lower()
