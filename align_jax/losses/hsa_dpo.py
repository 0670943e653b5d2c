"""HSA-DPO: severe hallucinations weigh more. Xiao et al. 2024, https://arxiv.org/abs/2404.14233."""

from typing import ClassVar

from jax.nn import log_sigmoid

from align_jax.losses.base import loss
from align_jax.losses.dpo import log_ratio, preference_metrics
from align_jax.types import Mean, MeasuredBatch, Metrics, Pair, PreferenceBatch, Scores, pytree


@pytree
class SeverityBatch(MeasuredBatch):
    """Pairs with the severity of the hallucinations in the rejected answer (`rejected_score`)."""

    reads: ClassVar = PreferenceBatch.reads._replace(numbers=("rejected_score",))


@loss(batch=SeverityBatch)
def hsa_dpo(
    policy: Pair[Scores], reference: Pair[Scores], batch: SeverityBatch, *, beta: float = 0.1
) -> tuple[Mean, Metrics]:
    """-log sigmoid(beta * (chosen log-ratio - severity * rejected log-ratio)).

    The released code can weigh the chosen log-ratio as well, and does not by default: not done here. Rewards are
    reported without the severity, as there.

    Args:
      policy: scores f32[B, R] of both completions.
      reference: the same under the reference model.
      batch: weights rows, and tells the severity of each pair.
      beta: as in DPO.
    """
    chosen = beta * log_ratio(policy.chosen, reference.chosen)
    rejected = beta * log_ratio(policy.rejected, reference.rejected)
    losses = -log_sigmoid(chosen - batch.numbers["rejected_score"] * rejected)
    return Mean.of(losses, batch.weight), preference_metrics(policy, chosen, rejected, batch.weight)
