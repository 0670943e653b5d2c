"""DiscoPOP, the log-ratio modulated loss. Lu et al. 2024, https://arxiv.org/abs/2406.08414, equation 5."""

import jax.numpy as jnp
from jax.nn import log_sigmoid, sigmoid

from align_jax.losses.base import loss
from align_jax.losses.dpo import log_ratio, preference_metrics
from align_jax.types import Mean, Metrics, Pair, PreferenceBatch, Scores


@loss(batch=PreferenceBatch)
def discopop(
    policy: Pair[Scores],
    reference: Pair[Scores],
    batch: PreferenceBatch,
    *,
    beta: float = 0.05,
    tau: float = 0.05,
) -> tuple[Mean, Metrics]:
    """(1 - m) * DPO + m * exp(-z), with z = beta * margin, m = sigmoid(z / tau): exponential where the pair is right.

    The paper prints the signs in three ways: equation 4 has (m - 1) * DPO, equation 27 takes the exponential of +z.
    This is equation 5, which is what its code computes, and TRL. The code of the search writes m = sigmoid(margin),
    which is the same at its beta = tau = 0.05 only. The loss is not convex: with tau 0.05 it rises with the margin for
    z from -0.12 to 0.07, so that the first step away from the reference, where z = 0, goes against the preference.

    Args:
      policy: scores f32[B, R] of both completions.
      reference: the same under the reference model.
      batch: weights rows.
      beta: as in DPO; 0.05 in the paper, which saw no convergence at 0.01 and below or 2.5 and above.
      tau: temperature of the modulation; 0.05 in the paper.
    """
    chosen, rejected = log_ratio(policy.chosen, reference.chosen), log_ratio(policy.rejected, reference.rejected)
    logits = beta * (chosen - rejected)
    # One exponent: apart, the factors are infinity and 0 where the margin is far below 0.
    exponential = jnp.exp(log_sigmoid(logits / tau) - logits)
    losses = sigmoid(-logits / tau) * -log_sigmoid(logits) + exponential
    return Mean.of(losses, batch.weight), preference_metrics(policy, beta * chosen, beta * rejected, batch.weight)
