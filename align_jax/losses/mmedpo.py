"""MMedPO: pairs weighted by clinical relevance. Zhu et al. 2024, https://arxiv.org/abs/2412.06141."""

from typing import ClassVar

from jax.nn import log_sigmoid

from align_jax.losses.base import loss
from align_jax.losses.dpo import log_ratio, preference_metrics
from align_jax.types import Mean, MeasuredBatch, Metrics, Pair, PreferenceBatch, Scores, pytree


@pytree
class RelevanceBatch(MeasuredBatch):
    """Pairs with their clinical relevance (`relevance`), from 0 to 1."""

    reads: ClassVar = PreferenceBatch.reads._replace(numbers=("relevance",))


@loss(batch=RelevanceBatch)
def mmedpo(
    policy: Pair[Scores], reference: Pair[Scores], batch: RelevanceBatch, *, beta: float = 0.1
) -> tuple[Mean, Metrics]:
    """relevance * DPO, averaged over pairs and not over relevance: where all matters less, the loss is smaller.

    The form is that of the released code (dpo_trainer_weighted.py). Its second kind of pair, the same answer in front
    of a picture with noise on the lesion, needs two pictures in one pair and is not done here.

    Args:
      policy: scores f32[B, R] of both completions.
      reference: the same under the reference model.
      batch: weights rows, and tells the relevance of each pair.
      beta: as in DPO.
    """
    chosen = beta * log_ratio(policy.chosen, reference.chosen)
    rejected = beta * log_ratio(policy.rejected, reference.rejected)
    losses = -batch.numbers["relevance"] * log_sigmoid(chosen - rejected)
    return Mean.of(losses, batch.weight), preference_metrics(policy, chosen, rejected, batch.weight)
