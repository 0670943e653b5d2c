"""Length-normalised DPO. Tulu 3, Lambert et al. 2024, https://arxiv.org/abs/2411.15124; TRL's "sigmoid_norm"."""

import jax
import jax.numpy as jnp
from jax.nn import log_sigmoid

from align_jax.losses.base import loss
from align_jax.losses.dpo import log_ratio, preference_metrics
from align_jax.types import Mean, Metrics, Pair, PreferenceBatch, Scores


@loss(batch=PreferenceBatch)
def sigmoid_norm(
    policy: Pair[Scores], reference: Pair[Scores], batch: PreferenceBatch, *, beta: float = 5.0
) -> tuple[Mean, Metrics]:
    """DPO over log-ratios per token: each is divided by the length of its own completion.

    Args:
      policy: scores f32[B, R] of both completions.
      reference: the same under the reference model.
      batch: weights rows.
      beta: as in DPO, but for a mean in place of a sum: 5 in Tulu 3, where DPO's 0.1 would hardly pull.
    """
    chosen = beta * mean_log_ratio(policy.chosen, reference.chosen)
    rejected = beta * mean_log_ratio(policy.rejected, reference.rejected)
    metrics = preference_metrics(policy, chosen, rejected, batch.weight)
    return Mean.of(-log_sigmoid(chosen - rejected), batch.weight), metrics


def mean_log_ratio(policy: Scores, reference: Scores) -> jax.Array:
    """f32[B]: (log pi(y|x) - log pi_ref(y|x)) / |y|; 0 for an empty completion."""
    return log_ratio(policy, reference) / jnp.maximum(policy.length, 1.0)
