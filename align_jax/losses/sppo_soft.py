"""Self-play preference optimization, win rates. Wu et al. 2024, https://arxiv.org/abs/2405.00675, equation 4.7."""

from typing import ClassVar

from align_jax.losses.base import loss
from align_jax.losses.dpo import log_ratio, preference_metrics
from align_jax.losses.sppo import squared_errors
from align_jax.types import Mean, MeasuredBatch, Metrics, Pair, PreferenceBatch, Scores, pytree


@pytree
class WinRateBatch(MeasuredBatch):
    """Pairs, and how often each completion wins against other answers to its prompt, from 0 to 1."""

    reads: ClassVar = PreferenceBatch.reads._replace(numbers=("chosen_win_rate", "rejected_win_rate"))


@loss(batch=WinRateBatch)
def sppo_soft(
    policy: Pair[Scores],
    reference: Pair[Scores],
    batch: WinRateBatch,
    *,
    beta: float = 0.001,
    reduction: str = "mean",
) -> tuple[Mean, Metrics]:
    """Squared error of each log-ratio to (win rate - 1/2) / beta. With win rates 1 and 0 it is `sppo`.

    Args:
      policy: scores f32[B, R] of both completions.
      reference: the same under the reference model: the policy of the last round.
      batch: weights rows and holds win rates f32[B], in the paper a preference model's mean over the other samples.
      beta: 1 / eta of the paper, 0.001.
      reduction: "mean" or "sum" over the two completions, as in `sppo`.

    Raises:
      ValueError: another reduction.
    """
    chosen, rejected = log_ratio(policy.chosen, reference.chosen), log_ratio(policy.rejected, reference.rejected)
    chosen_target = (batch.numbers["chosen_win_rate"] - 0.5) / beta
    rejected_target = (batch.numbers["rejected_win_rate"] - 0.5) / beta
    losses = squared_errors(chosen - chosen_target, rejected - rejected_target, reduction)
    return Mean.of(losses, batch.weight), preference_metrics(policy, beta * chosen, beta * rejected, batch.weight)
