"""Pairs of single steps of reasoning: the data of Step-DPO. Lai et al. 2024, https://arxiv.org/abs/2406.18629.

The loss is plain DPO: steps that are right already stand in the prompt, and are therefore not trained.
"""

import dataclasses
from collections.abc import Sequence

from align_jax.data.records import Record, RecordError


def step_pair(question: Record, steps: Sequence[str], good: str, bad: str, *, separator: str = "\n") -> Record:
    """A record that asks for the next step after some correct ones.

    The steps become the end of the question, ahead of what a chat template writes between it and the answer; the
    authors' code puts them behind that.

    Args:
      question: its `prompt` and media are kept; answers that it has are replaced.
      steps: correct steps so far, in order; may be empty.
      good: the next step, done right.
      bad: the next step, done wrong.
      separator: between the question and the steps, and between two steps.

    Raises:
      RecordError: a step is empty, or the good one equals the bad one.
    """
    if not all(step.strip() for step in (*steps, good, bad)):
        raise RecordError(question.place, "a step is empty: fill it in, or leave the row out")
    if good.strip() == bad.strip():
        raise RecordError(question.place, f"the good and the bad step are both {good.strip()!r}: leave the row out")
    return dataclasses.replace(
        question, prompt=separator.join((question.prompt, *steps)), chosen=good, rejected=bad, spans={}
    )
