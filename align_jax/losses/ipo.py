"""Identity preference optimization. Azar et al. 2023, https://arxiv.org/abs/2310.12036, equation 17."""

from align_jax.losses.base import loss
from align_jax.losses.dpo import log_ratio, preference_metrics
from align_jax.losses.sigmoid_norm import mean_log_ratio
from align_jax.types import Mean, Metrics, Pair, PreferenceBatch, Scores

REDUCTIONS = {"token": mean_log_ratio, "sequence": log_ratio}


@loss(batch=PreferenceBatch)
def ipo(
    policy: Pair[Scores],
    reference: Pair[Scores],
    batch: PreferenceBatch,
    *,
    beta: float = 0.1,
    reduction: str = "token",
) -> tuple[Mean, Metrics]:
    """(margin - 1 / (2 * beta))^2: the margin is drawn to a target, not pushed without end.

    Args:
      policy: scores f32[B, R] of both completions.
      reference: the same under the reference model.
      batch: weights rows.
      beta: tau in the paper; sets the target of the margin.
      reduction: "token" divides the log-ratio of each completion by its length. The paper's equation shows no length;
        TRL divides, and reports that the authors confirmed it and that their results are of this form. It is the
        default since one target for margins of all lengths makes sense only per token. "sequence" is the equation
        as it stands, with whole log-probabilities, as in the code of DPO and SPPO: the same beta asks for a margin
        that is smaller by the length, so settings of the two do not compare.

    Raises:
      ValueError: another reduction.
    """
    if reduction not in REDUCTIONS:
        raise ValueError(f'reduction is "token" or "sequence", not {reduction!r}')
    ratio = REDUCTIONS[reduction]
    chosen, rejected = ratio(policy.chosen, reference.chosen), ratio(policy.rejected, reference.rejected)
    losses = (chosen - rejected - 1 / (2 * beta)) ** 2
    return Mean.of(losses, batch.weight), preference_metrics(policy, beta * chosen, beta * rejected, batch.weight)
