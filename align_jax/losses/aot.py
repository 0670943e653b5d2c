"""Alignment via optimal transport (AOT), paired. Melnyk et al. 2024, https://arxiv.org/abs/2406.05882."""

import jax
import jax.numpy as jnp
from jax.nn import log_sigmoid

from align_jax.losses.base import loss
from align_jax.losses.dpo import log_ratio, preference_metrics
from align_jax.types import Mean, Metrics, Pair, PreferenceBatch, Scores


@loss(batch=PreferenceBatch, coupled=True)
def aot(
    policy: Pair[Scores],
    reference: Pair[Scores],
    batch: PreferenceBatch,
    *,
    beta: float = 0.1,
    label_smoothing: float = 0.0,
) -> tuple[Mean, Metrics]:
    """The policy's log-odds of chosen over rejected should exceed the reference's as a distribution over the batch.

    Both are sorted, and the i-th smallest of the one is compared with the i-th smallest of the other: the optimal
    transport between the two samples. Sorting is hard; the paper's soft sorting is not offered. The larger the batch,
    the better its quantiles; with one pair the loss is DPO's.

    Args:
      policy: scores f32[B, R] of both completions.
      reference: the same under the reference model.
      batch: weights rows: 1, or 0 on padding.
      beta: as in DPO.
      label_smoothing: as in `dpo`.
    """
    better = policy.chosen.total - policy.rejected.total
    bound = reference.chosen.total - reference.rejected.total
    losses = dominance(better, bound, batch.weight, beta, label_smoothing)
    chosen, rejected = log_ratio(policy.chosen, reference.chosen), log_ratio(policy.rejected, reference.rejected)
    return losses, preference_metrics(policy, beta * chosen, beta * rejected, batch.weight)


def dominance(
    better: jax.Array, worse: jax.Array, weight: jax.Array, beta: float, label_smoothing: float = 0.0
) -> Mean:
    """How far the values `better` f32[B] are from exceeding `worse` f32[B] in each quantile (first-order dominance).

    Rows of weight 0 enter neither sort: they are moved behind the others on both sides, where they weigh 0 again.
    """
    padding = weight == 0
    _, better = jax.lax.sort((padding, better), num_keys=2)
    _, worse = jax.lax.sort((padding, worse), num_keys=2)
    logits = beta * (better - worse)
    losses = -(1 - label_smoothing) * log_sigmoid(logits) - label_smoothing * log_sigmoid(-logits)
    return Mean.of(losses, jnp.sort(weight, descending=True))
