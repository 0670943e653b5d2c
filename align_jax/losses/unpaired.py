"""Answers that are good or bad by themselves: records with a chosen answer, a rejected one, or both."""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import jax
import numpy as np

from align_jax.losses.dpo import preference_metrics
from align_jax.types import (
    Example,
    Mean,
    Metrics,
    PackTree,
    Pair,
    PromptTree,
    Reads,
    Scores,
    pytree,
    row_weight,
)

ANSWERS = ("chosen", "rejected")
EMPTY = np.zeros(0, np.int32)


def has_no_answer(example: Example) -> str:
    return "" if any(name in example.completions for name in ANSWERS) else "has neither 'chosen' nor 'rejected'"


@pytree
class UnpairedBatch:
    """A chosen completion, a rejected one, or both; a missing one is empty and does not count.

    The prompt is computed once, whatever there is.
    """

    reads: ClassVar = Reads(check=has_no_answer)
    tree: PromptTree  # K = 2: chosen, rejected
    weight: jax.Array
    present: jax.Array  # f32[B, 2] 1 where there is a chosen, a rejected completion

    @classmethod
    def pack(cls, examples: Sequence[Example], pack_tree: PackTree) -> "UnpairedBatch":
        tree = pack_tree([fill(example) for example in examples], ANSWERS)
        return cls(tree, row_weight(examples, pack_tree.batch_size), present(examples, pack_tree.batch_size))

    def trees(self) -> tuple[PromptTree, ...]:
        return (self.tree,)

    def group(self, scores: tuple[Scores, ...]) -> Pair[Scores]:
        return Pair(scores[0].completion(0), scores[0].completion(1))

    @property
    def answers(self) -> jax.Array:
        """f32[B, 2]: weight of each answer; 0 where it is missing, and on padding rows."""
        return self.present * self.weight[:, None]


def fill(example: Example, **completions: np.ndarray) -> Example:
    """A copy with further completions, and with empty ones for the answers that are missing."""
    return dataclasses.replace(example, completions=dict.fromkeys(ANSWERS, EMPTY) | example.completions | completions)


def present(examples: Sequence[Example], batch_size: int) -> np.ndarray:
    """f32[batch_size, 2]: 1 for answers that the examples have."""
    marks = np.zeros((batch_size, len(ANSWERS)), np.float32)
    for row, example in zip(marks, examples, strict=False):
        row[:] = [name in example.completions for name in ANSWERS]
    return marks


def unpaired_metrics(policy: Pair[Scores], chosen: jax.Array, rejected: jax.Array, answers: jax.Array) -> Metrics:
    """`preference_metrics` over what there is: of each answer over all of its kind, of margins over rows with both."""
    return preference_metrics(policy, chosen, rejected, answers[:, 0] * answers[:, 1]) | {
        "rewards/chosen": Mean.of(chosen, answers[:, 0]),
        "rewards/rejected": Mean.of(rejected, answers[:, 1]),
        "logps/chosen": Mean.of(policy.chosen.total, answers[:, 0]),
        "logps/rejected": Mean.of(policy.rejected.total, answers[:, 1]),
    }
