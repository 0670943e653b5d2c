"""Preference pairs mixed with plain texts, which other losses read: an auxiliary task beside the preferences."""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import jax
import numpy as np

from align_jax.types import Example, PackTree, PreferenceBatch, Reads, pytree, row_weight


@pytree
class PairsAndTextsBatch(PreferenceBatch):
    """Pairs, and plain texts: records without a rejected answer.

    `weight` is 1 for pairs only, so that every loss over pairs passes over the texts.
    """

    reads: ClassVar = Reads(completions=("chosen",))
    text_weight: jax.Array  # f32[B] 1 on texts, 0 on pairs and padding rows

    @classmethod
    def pack(cls, examples: Sequence[Example], pack_tree: PackTree) -> "PairsAndTextsBatch":
        rows = row_weight(examples, pack_tree.batch_size)
        paired = np.zeros_like(rows)
        paired[: len(examples)] = ["rejected" in example.completions for example in examples]
        nothing = {"rejected": np.zeros(0, np.int32)}
        filled = [dataclasses.replace(e, completions={**nothing, **e.completions}) for e in examples]
        return cls(pack_tree(filled, ("chosen", "rejected")), paired, rows - paired)
