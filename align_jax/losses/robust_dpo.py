"""Robust DPO (rDPO): unbiased under labels flipped at a known rate. Chowdhury et al. 2024, https://arxiv.org/abs/2403.00409."""

from jax.nn import log_sigmoid

from align_jax.losses.base import loss
from align_jax.losses.dpo import log_ratio, preference_metrics
from align_jax.types import Mean, Metrics, Pair, PreferenceBatch, Scores


@loss(batch=PreferenceBatch)
def robust_dpo(
    policy: Pair[Scores],
    reference: Pair[Scores],
    batch: PreferenceBatch,
    *,
    beta: float = 0.1,
    label_smoothing: float = 0.1,
) -> tuple[Mean, Metrics]:
    """DPO's loss minus what flipped labels are expected to add to it; over randomly flipped labels its mean is DPO's.

    It differs from conservative DPO (`dpo` with label_smoothing) in the sign of the flipped term and in the divisor:
    the loss has no lower bound, and its gradient does not fade as the margin grows.

    Args:
      policy: scores f32[B, R] of both completions.
      reference: the same under the reference model.
      batch: weights rows.
      beta: as in DPO.
      label_smoothing: probability that a label is flipped, from 0 (DPO) to less than 0.5; 0.1 in the paper.

    Raises:
      ValueError: `label_smoothing` outside [0, 0.5).
    """
    if not 0 <= label_smoothing < 0.5:
        raise ValueError(f"label_smoothing is a rate of flipped labels in [0, 0.5), not {label_smoothing}")
    chosen, rejected = log_ratio(policy.chosen, reference.chosen), log_ratio(policy.rejected, reference.rejected)
    logits = beta * (chosen - rejected)
    as_labelled, flipped = -log_sigmoid(logits), -log_sigmoid(-logits)
    losses = ((1 - label_smoothing) * as_labelled - label_smoothing * flipped) / (1 - 2 * label_smoothing)
    return Mean.of(losses, batch.weight), preference_metrics(policy, beta * chosen, beta * rejected, batch.weight)
