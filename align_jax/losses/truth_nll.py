"""Negative log-likelihood of the true answer beside DPO between two others: the guided DPO of video-SALMONN 2.
Tang et al. 2025, https://arxiv.org/abs/2506.15220, with a weight of 0.1."""

from collections.abc import Sequence
from typing import ClassVar

from align_jax.losses.base import loss
from align_jax.types import Example, Mean, Metrics, PackTree, PreferenceBatch, Reads, Scores, pytree, row_weight


@pytree
class TruthBatch(PreferenceBatch):
    """Pairs, and a third answer to the same prompt that is right: the record's `answers["truth"]`."""

    reads: ClassVar = Reads(completions=("chosen", "rejected", "truth"))

    @classmethod
    def pack(cls, examples: Sequence[Example], pack_tree: PackTree) -> "TruthBatch":
        tree = pack_tree(examples, cls.reads.completions)  # K = 3
        return cls(tree, row_weight(examples, pack_tree.batch_size))

    def group(self, scores: tuple[Scores, ...]) -> "PairAndTruth":
        return PairAndTruth(*(scores[0].completion(k) for k in range(3)))


@pytree
class PairAndTruth:
    chosen: Scores
    rejected: Scores
    truth: Scores


@loss(batch=TruthBatch, needs_reference=False)
def truth_nll(
    policy: PairAndTruth, reference: None, batch: TruthBatch, *, reduction: str = "mean"
) -> tuple[Mean, Metrics]:
    """NLL of the true answer, without a reference.

    Args:
      policy: scores f32[B, R] of the three answers.
      reference: not read.
      batch: weights rows.
      reduction: "mean" averages over the tokens of each answer, then over answers, as the released code does, whose
        batches have one row on each device; "token" averages over all tokens of the batch; "sequence" sums over each
        answer and averages over answers.

    Raises:
      ValueError: another reduction.
    """
    truth = policy.truth
    metrics = {"logps/truth": Mean.of(truth.total, batch.weight)}
    if reduction == "mean":
        return Mean.of(-truth.mean, batch.weight), metrics
    if reduction == "token":
        return Mean.of(-truth.logps, truth.mask * batch.weight[:, None]), metrics
    if reduction == "sequence":
        return Mean.of(-truth.total, batch.weight), metrics
    raise ValueError(f'reduction is "mean", "token" or "sequence", not {reduction!r}')
