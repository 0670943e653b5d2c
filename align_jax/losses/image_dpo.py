"""Image DPO: one text behind a right and a worse image. vVLM (ViLP), Luo et al. 2025, https://arxiv.org/abs/2501.00569."""

from collections.abc import Sequence
from typing import ClassVar

import jax
from jax.nn import log_sigmoid

from align_jax.losses.base import loss
from align_jax.losses.dpo import log_ratio, preference_metrics
from align_jax.types import Example, Mean, Metrics, PackTree, Pair, PromptTree, Reads, Scores, pytree, row_weight


@pytree
class ImageSwapBatch:
    """The chosen completion behind its own image and behind a worse one (`Example.views["corrupted"]`)."""

    reads: ClassVar = Reads(completions=("chosen",), views=("corrupted",))
    tree: PromptTree  # K = 1
    weight: jax.Array
    corrupted: PromptTree  # K = 1

    @classmethod
    def pack(cls, examples: Sequence[Example], pack_tree: PackTree) -> "ImageSwapBatch":
        trees = (pack_tree(examples, ("chosen",), view=view) for view in (None, "corrupted"))
        return cls(next(trees), row_weight(examples, pack_tree.batch_size), next(trees))

    def trees(self) -> tuple[PromptTree, ...]:
        return (self.tree, self.corrupted)

    def group(self, scores: tuple[Scores, ...]) -> "ImageSwap":
        return ImageSwap(*(each.completion(0) for each in scores))


@pytree
class ImageSwap:
    """The chosen completion given its own and given the corrupted image."""

    chosen: Scores
    chosen_corrupted: Scores


@loss(batch=ImageSwapBatch)
def image_dpo(
    policy: ImageSwap, reference: ImageSwap, batch: ImageSwapBatch, *, beta: float = 0.1
) -> tuple[Mean, Metrics]:
    """DPO between two images: the chosen text should follow from the right one rather than from the worse one.

    Records need no rejected text. Policy and reference see the same worse image; in the paper it is a semantic edit,
    a blur or a pixelation of the right one.

    Args:
      policy: scores f32[B, R] of the chosen completion behind both images.
      reference: the same under the reference model.
      batch: weights rows.
      beta: as in DPO; 0.5 in the authors' script, see configs/vvlm.py.
    """
    right = beta * log_ratio(policy.chosen, reference.chosen)
    worse = beta * log_ratio(policy.chosen_corrupted, reference.chosen_corrupted)
    metrics = preference_metrics(Pair(policy.chosen, policy.chosen_corrupted), right, worse, batch.weight)
    return Mean.of(-log_sigmoid(right - worse), batch.weight), metrics
