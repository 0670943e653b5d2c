"""Self-play preference optimization, hard labels. Wu et al. 2024, https://arxiv.org/abs/2405.00675, equation 4.7."""

import jax

from align_jax.losses.base import loss
from align_jax.losses.dpo import log_ratio, preference_metrics
from align_jax.types import Mean, Metrics, Pair, PreferenceBatch, Scores


@loss(batch=PreferenceBatch)
def sppo(
    policy: Pair[Scores],
    reference: Pair[Scores],
    batch: PreferenceBatch,
    *,
    beta: float = 0.001,
    reduction: str = "mean",
) -> tuple[Mean, Metrics]:
    """Squared error of each log-ratio to (win rate - 1/2) / beta; win rates are 1 for chosen and 0 for rejected.

    Both sides have a target of their own: +1 / (2 * beta) and -1 / (2 * beta). A round of the method samples answers
    from the policy, ranks them, and makes that policy the reference. `sppo_soft` reads measured win rates.

    Args:
      policy: scores f32[B, R] of both completions.
      reference: the same under the reference model: the policy of the last round.
      batch: weights rows.
      beta: 1 / eta of the paper, 0.001.
      reduction: over the two completions: "mean" is what the authors' code does, and an expectation over answers as
        in the paper's algorithm; "sum" is TRL's sppo_hard.

    Raises:
      ValueError: another reduction.
    """
    chosen, rejected = log_ratio(policy.chosen, reference.chosen), log_ratio(policy.rejected, reference.rejected)
    losses = squared_errors(chosen - 0.5 / beta, rejected + 0.5 / beta, reduction)
    return Mean.of(losses, batch.weight), preference_metrics(policy, beta * chosen, beta * rejected, batch.weight)


def squared_errors(chosen: jax.Array, rejected: jax.Array, reduction: str) -> jax.Array:
    """f32[B]: the mean or the sum of two squared errors f32[B]."""
    if reduction not in ("mean", "sum"):
        raise ValueError(f'reduction is "mean" or "sum", not {reduction!r}')
    total = chosen**2 + rejected**2
    return total / 2 if reduction == "mean" else total
