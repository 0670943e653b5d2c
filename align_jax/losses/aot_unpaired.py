"""Alignment via optimal transport (AOT), unpaired. Melnyk et al. 2024, https://arxiv.org/abs/2406.05882."""

from align_jax.losses.aot import dominance
from align_jax.losses.base import loss
from align_jax.losses.dpo import log_ratio, preference_metrics
from align_jax.types import Mean, Metrics, Pair, PreferenceBatch, Scores


@loss(batch=PreferenceBatch, coupled=True)
def aot_unpaired(
    policy: Pair[Scores],
    reference: Pair[Scores],
    batch: PreferenceBatch,
    *,
    beta: float = 0.1,
    label_smoothing: float = 0.0,
) -> tuple[Mean, Metrics]:
    """The rewards of chosen completions should exceed those of rejected ones as a distribution over the batch.

    The i-th smallest log-ratio of the chosen completions is compared with the i-th smallest of the rejected ones,
    whichever prompts they belong to. As many of either are needed, so they come as pairs here, though which is paired
    with which does not matter.

    Args:
      policy: scores f32[B, R] of both completions.
      reference: the same under the reference model.
      batch: weights rows: 1, or 0 on padding.
      beta: as in DPO.
      label_smoothing: as in `dpo`.
    """
    chosen, rejected = log_ratio(policy.chosen, reference.chosen), log_ratio(policy.rejected, reference.rejected)
    losses = dominance(chosen, rejected, batch.weight, beta, label_smoothing)
    return losses, preference_metrics(policy, beta * chosen, beta * rejected, batch.weight)
