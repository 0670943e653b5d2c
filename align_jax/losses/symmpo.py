"""SymMPO: each of two similar images prefers its own answer. Liu et al. 2025, https://arxiv.org/abs/2506.11712."""

from collections.abc import Sequence
from typing import ClassVar

from jax.nn import log_sigmoid

from align_jax.losses.base import loss
from align_jax.losses.dpo import dpo, log_ratio
from align_jax.types import (
    Example,
    Mean,
    Metrics,
    PackTree,
    PreferenceBatch,
    PromptTree,
    Reads,
    Scores,
    pytree,
    row_weight,
)


@pytree
class SymmetricBatch(PreferenceBatch):
    """Pairs, and a similar image (`Example.views["other"]`) with a good answer of its own ("other_chosen").

    Each good answer stands behind both images. A bad answer to the other image is not read.
    """

    reads: ClassVar = Reads(completions=("chosen", "rejected", "other_chosen"), views=("other",))
    other: PromptTree  # K = 2: other_chosen, chosen; and `tree` has K = 3: chosen, rejected, other_chosen

    @classmethod
    def pack(cls, examples: Sequence[Example], pack_tree: PackTree) -> "SymmetricBatch":
        tree = pack_tree(examples, ("chosen", "rejected", "other_chosen"))
        other = pack_tree(examples, ("other_chosen", "chosen"), view="other")
        return cls(tree, row_weight(examples, pack_tree.batch_size), other)

    def trees(self) -> tuple[PromptTree, ...]:
        return (self.tree, self.other)

    def group(self, scores: tuple[Scores, ...]) -> "SymmetricPair":
        tree, other = scores
        return SymmetricPair(*(tree.completion(k) for k in range(3)), *(other.completion(k) for k in range(2)))


@pytree
class SymmetricPair:
    """Answers 1 (chosen, rejected) and 2 (other_chosen), given image 1 or image 2."""

    chosen: Scores  # 1 given 1
    rejected: Scores  # the bad answer, given 1
    crossed: Scores  # 2 given 1
    other_chosen: Scores  # 2 given 2
    other_crossed: Scores  # 1 given 2


@loss(batch=SymmetricBatch)
def symmpo(
    policy: SymmetricPair,
    reference: SymmetricPair,
    batch: SymmetricBatch,
    *,
    beta: float = 0.1,
    other_beta: float = 0.1,
    lam: float = 0.5,
    consistency: float = 1e-4,
) -> tuple[Mean, Metrics]:
    """DPO + lam * (a pair of answers behind each image) + anchors of both good answers + consistency of the margins.

    With r_ij the log-ratio of answer j behind image i, D_1 = r_11 - r_12 and D_2 = r_22 - r_21, the symmetric pairs
    are -log sigmoid(beta D_i), the anchors -log sigmoid(beta r_11) and -log sigmoid(other_beta r_22), and the last
    term is consistency * (D_1 - D_2)^2, not scaled by beta. As in the authors' code.

    Args:
      policy: scores f32[B, R].
      reference: the same under the reference model.
      batch: weights rows.
      beta: as in DPO.
      other_beta: of the anchor of the other image's answer.
      lam: weight of the symmetric pairs.
      consistency: weight of the squared difference of the margins.
    """
    text, metrics = dpo(policy, reference, batch, beta=beta)
    own, crossed = log_ratio(policy.chosen, reference.chosen), log_ratio(policy.crossed, reference.crossed)
    other_own = log_ratio(policy.other_chosen, reference.other_chosen)
    margin, other_margin = own - crossed, other_own - log_ratio(policy.other_crossed, reference.other_crossed)
    symmetric = -log_sigmoid(beta * margin) - log_sigmoid(beta * other_margin)
    anchors = -log_sigmoid(beta * own) - log_sigmoid(other_beta * other_own)
    losses = lam * symmetric + anchors + consistency * (margin - other_margin) ** 2
    margins = {
        "rewards/image_margins": Mean.of(beta * margin, batch.weight),
        "rewards/other_image_margins": Mean.of(beta * other_margin, batch.weight),
    }
    return Mean(text.total + Mean.of(losses, batch.weight).total, text.count), metrics | margins
