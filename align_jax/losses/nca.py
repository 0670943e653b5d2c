"""Noise contrastive alignment (NCA) on pairs. Chen et al. 2024, https://arxiv.org/abs/2402.05369."""

from jax.nn import log_sigmoid

from align_jax.losses.base import loss
from align_jax.losses.dpo import log_ratio, preference_metrics
from align_jax.types import Mean, Metrics, Pair, PreferenceBatch, Scores


@loss(batch=PreferenceBatch)
def nca(
    policy: Pair[Scores], reference: Pair[Scores], batch: PreferenceBatch, *, beta: float = 0.01
) -> tuple[Mean, Metrics]:
    """-LS(c) - (LS(-c) + LS(-r)) / 2, LS being log sigmoid, c and r the implicit rewards of chosen and rejected.

    The first term raises the chosen completion, the others take both for noise. Unlike DPO's, the optimum of the
    chosen reward is finite, so its log-probability is not left to fall with the rejected one's.

    Args:
      policy: scores f32[B, R] of both completions.
      reference: the same under the reference model.
      batch: weights rows.
      beta: alpha in the paper, where it is 0.01; of the implicit rewards beta * log-ratio.
    """
    chosen = beta * log_ratio(policy.chosen, reference.chosen)
    rejected = beta * log_ratio(policy.rejected, reference.rejected)
    losses = -log_sigmoid(chosen) - 0.5 * (log_sigmoid(-chosen) + log_sigmoid(-rejected))
    return Mean.of(losses, batch.weight), preference_metrics(policy, chosen, rejected, batch.weight)
