"""Anchored preference optimization: APO-zero. D'Oosterlinck et al. 2024, https://arxiv.org/abs/2408.06266, eq. 7."""

from jax.nn import sigmoid

from align_jax.losses.base import loss
from align_jax.losses.dpo import log_ratio, preference_metrics
from align_jax.types import Mean, Metrics, Pair, PreferenceBatch, Scores


@loss(batch=PreferenceBatch)
def apo_zero(
    policy: Pair[Scores], reference: Pair[Scores], batch: PreferenceBatch, *, beta: float = 0.1
) -> tuple[Mean, Metrics]:
    """1 - sigmoid(c) + sigmoid(r), c and r being the implicit rewards: raises chosen and lowers rejected.

    For data whose chosen answers are better than the policy's own; else see `apo_down`. The 1 is TRL's: it keeps the
    loss above 0 and has no gradient.

    Args:
      policy: scores f32[B, R] of both completions.
      reference: the same under the reference model.
      batch: weights rows.
      beta: of the implicit rewards beta * log-ratio; 0.1 in the paper.
    """
    chosen = beta * log_ratio(policy.chosen, reference.chosen)
    rejected = beta * log_ratio(policy.rejected, reference.rejected)
    losses = sigmoid(-chosen) + sigmoid(rejected)
    return Mean.of(losses, batch.weight), preference_metrics(policy, chosen, rejected, batch.weight)
