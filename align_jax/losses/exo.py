"""Efficient exact optimization (EXO) on pairs. Ji et al. 2024, https://arxiv.org/abs/2402.00856, eq. 16, K = 2."""

import math

import jax
from jax.nn import log_sigmoid

from align_jax.losses.base import loss
from align_jax.losses.dpo import log_ratio, preference_metrics
from align_jax.types import Mean, Metrics, Pair, PreferenceBatch, Scores


@loss(batch=PreferenceBatch)
def exo(
    policy: Pair[Scores],
    reference: Pair[Scores],
    batch: PreferenceBatch,
    *,
    beta: float = 0.1,
    label_smoothing: float = 1e-3,
) -> tuple[Mean, Metrics]:
    """KL(p : q) over the pair: p = softmax of the implicit rewards, q = (1 - label_smoothing, label_smoothing).

    The KL that DPO minimises runs the other way, KL(q : p). This one is bounded by -log(label_smoothing), and its
    gradient fades where the policy is sure of the rejected completion.

    Args:
      policy: scores f32[B, R] of both completions.
      reference: the same under the reference model.
      batch: weights rows.
      beta: beta_pi in the paper.
      label_smoothing: epsilon in the paper, more than 0: q must not be 0 where p is not. 0.001 in the paper; the
        authors' code takes exp(-10), and leaves log(1 - epsilon) away.

    Raises:
      ValueError: `label_smoothing` outside (0, 0.5).
    """
    if not 0 < label_smoothing < 0.5:
        raise ValueError(f"label_smoothing lies in (0, 0.5), both ends left out; got {label_smoothing}")
    chosen, rejected = log_ratio(policy.chosen, reference.chosen), log_ratio(policy.rejected, reference.rejected)
    logits = beta * (chosen - rejected)
    losses = jax.nn.sigmoid(logits) * (log_sigmoid(logits) - math.log1p(-label_smoothing))
    losses += jax.nn.sigmoid(-logits) * (log_sigmoid(-logits) - math.log(label_smoothing))
    return Mean.of(losses, batch.weight), preference_metrics(policy, beta * chosen, beta * rejected, batch.weight)
