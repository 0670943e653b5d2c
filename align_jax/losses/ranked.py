"""Several answers to each prompt, ranked: what list-wise losses read."""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import jax
import numpy as np

from align_jax.types import Example, PackTree, Pair, PromptTree, Reads, Scores, pytree, row_weight


@pytree
class RankedBatch:
    """Up to K = `reads.ranked` answers to each prompt, the best first; a row may have fewer."""

    reads: ClassVar = Reads(ranked=4)
    tree: PromptTree  # K completions, those that a row lacks being empty
    weight: jax.Array
    present: jax.Array  # f32[B, K] 1 where there is an answer

    @classmethod
    def pack(cls, examples: Sequence[Example], pack_tree: PackTree) -> "RankedBatch":
        names = [str(k) for k in range(cls.reads.ranked)]
        present, nothing = np.zeros((pack_tree.batch_size, len(names)), np.float32), np.zeros(0, np.int32)
        filled = []
        for example, row in zip(examples, present, strict=False):
            row[: len(example.ranked)] = 1.0
            answers = dict.fromkeys(names, nothing) | dict(zip(names, example.ranked, strict=False))
            filled.append(dataclasses.replace(example, completions=answers))
        return cls(pack_tree(filled, names), row_weight(examples, pack_tree.batch_size), present)

    def trees(self) -> tuple[PromptTree, ...]:
        return (self.tree,)

    def group(self, scores: tuple[Scores, ...]) -> Pair[Scores]:
        """Scores [B, N, R] of the better and of the worse answer of each of `pairs`."""
        better, worse = self.pairs
        return Pair(jax.tree.map(lambda x: x[:, better], scores[0]), jax.tree.map(lambda x: x[:, worse], scores[0]))

    @property
    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """int[N] each, N = K (K - 1) / 2: ranks, from 0, of the better and of the worse answer of all pairs."""
        return np.triu_indices(self.reads.ranked, 1)

    @property
    def pair_weight(self) -> jax.Array:
        """f32[B, N]: weight of the row where both answers are present, else 0."""
        better, worse = self.pairs
        return self.present[:, better] * self.present[:, worse] * self.weight[:, None]
