"""Weighted preference optimization (WPO). Zhou et al. 2024, https://arxiv.org/abs/2406.11827, equation 2."""

import math

import jax
import jax.numpy as jnp
from jax.nn import log_sigmoid

from align_jax.losses.base import loss
from align_jax.losses.dpo import log_ratio, preference_metrics
from align_jax.types import Mean, Metrics, Pair, PreferenceBatch, Scores


@loss(batch=PreferenceBatch, statistics=("collision",))
def wpo(
    policy: Pair[Scores],
    reference: Pair[Scores],
    batch: PreferenceBatch,
    *,
    beta: float = 0.1,
    aligned: bool = True,
    max_weight: float = math.inf,
) -> tuple[Mean, Metrics]:
    """DPO in which a pair weighs w(chosen) * w(rejected), as if text of other models were drawn from the policy.

    w(y) is the probability of y per token (geometric mean) under the policy as it is: no gradient passes through it.
    The sum is divided by the number of pairs, not by their weights: a batch that the policy finds unlikely pulls less.

    Args:
      policy: scores f32[B, R] of both completions, with `collision`.
      reference: the same under the reference model.
      batch: weights rows.
      beta: as in DPO.
      aligned: divide each token's probability by the one that a sample of the policy has on average, the sum of
        squared probabilities (sampled alignment), so that w of the policy's own text is near 1, however uncertain it
        is. The paper's other choice, dividing by the largest probability (greedy alignment), is not offered.
      max_weight: bound of w(chosen) * w(rejected). The equation and TRL have none; the authors' code has 1.
    """
    chosen, rejected = log_ratio(policy.chosen, reference.chosen), log_ratio(policy.rejected, reference.rejected)
    log_weight = jax.lax.stop_gradient(mean_logp(policy.chosen, aligned) + mean_logp(policy.rejected, aligned))
    weight = jnp.minimum(jnp.exp(log_weight), max_weight)
    losses = -weight * log_sigmoid(beta * (chosen - rejected))
    metrics = preference_metrics(policy, beta * chosen, beta * rejected, batch.weight)
    return Mean.of(losses, batch.weight), metrics | {"wpo/weight": Mean.of(weight, batch.weight)}


def mean_logp(scores: Scores, aligned: bool) -> jax.Array:
    """f32[B]: mean log-probability of the tokens, aligned with that of a sample of the policy or not."""
    if not aligned:
        return scores.mean
    return scores.mean - scores.collision.sum(-1) / jnp.maximum(scores.length, 1.0)
