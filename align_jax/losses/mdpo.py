"""mDPO: a preference between images besides the one between texts. Wang et al. 2024, https://arxiv.org/abs/2406.11839."""

from collections.abc import Sequence
from typing import ClassVar

from jax.nn import log_sigmoid

from align_jax.losses.base import loss
from align_jax.losses.dpo import dpo, log_ratio
from align_jax.losses.image_dpo import ImageSwapBatch, image_dpo
from align_jax.types import Example, Mean, Metrics, PackTree, PreferenceBatch, PromptTree, Scores, pytree


@pytree
class ImagePairBatch(PreferenceBatch, ImageSwapBatch):
    """Pairs, and the chosen completion once more behind a corrupted image (`Example.views["corrupted"]`).

    A batch for losses of either kind, so that these can be mixed with losses of pairs.
    """

    reads: ClassVar = PreferenceBatch.reads._replace(views=("corrupted",))

    @classmethod
    def pack(cls, examples: Sequence[Example], pack_tree: PackTree) -> "ImagePairBatch":
        pair = PreferenceBatch.pack(examples, pack_tree)
        return cls(pair.tree, pair.weight, pack_tree(examples, ("chosen",), view="corrupted"))

    def trees(self) -> tuple[PromptTree, ...]:
        return (self.tree, self.corrupted)

    def group(self, scores: tuple[Scores, ...]) -> "ImagePair":
        pair, corrupted = scores
        return ImagePair(pair.completion(0), pair.completion(1), corrupted.completion(0))


@pytree
class ImagePair:
    """A pair, and the chosen completion given the corrupted image."""

    chosen: Scores
    rejected: Scores
    chosen_corrupted: Scores


@loss(batch=ImagePairBatch)
def mdpo(
    policy: ImagePair, reference: ImagePair, batch: ImagePairBatch, *, beta: float = 0.1, anchor: float = 0.0
) -> tuple[Mean, Metrics]:
    """Sum of DPO, the same with the chosen text behind the right and the corrupted image, and an anchor.

    The three terms weigh 1 each, as in the paper (equations 3 to 5). Policy and reference see the same corrupted
    image; the authors' code draws another one for the reference. They corrupt by cropping 1 to 20 % of the area.

    Args:
      policy: scores f32[B, R].
      reference: the same under the reference model.
      batch: weights rows.
      beta: as in DPO, for all three terms.
      anchor: reward (delta in the paper) that the chosen completion should exceed.
    """
    text, metrics = dpo(policy, reference, batch, beta=beta)
    image, image_metrics = image_dpo(policy, reference, batch, beta=beta)
    floor = Mean.of(-log_sigmoid(beta * log_ratio(policy.chosen, reference.chosen) - anchor), batch.weight)
    total = Mean(text.total + image.total + floor.total, text.count)
    return total, metrics | {"rewards/corrupted": image_metrics["rewards/rejected"]}
