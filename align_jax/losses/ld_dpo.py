"""Length-desensitized DPO (LD-DPO). Liu et al. 2024, https://arxiv.org/abs/2409.06411."""

import jax
import jax.numpy as jnp
from jax.nn import log_sigmoid

from align_jax.losses.base import loss
from align_jax.losses.dpo import log_ratio, preference_metrics
from align_jax.types import Mean, Metrics, Pair, PreferenceBatch, Scores


@loss(batch=PreferenceBatch)
def ld_dpo(
    policy: Pair[Scores],
    reference: Pair[Scores],
    batch: PreferenceBatch,
    *,
    beta: float = 0.1,
    alpha: float = 0.5,
) -> tuple[Mean, Metrics]:
    """DPO in which tokens past the length of the shorter completion weigh alpha, under policy and reference alike.

    Args:
      policy: scores f32[B, R] of both completions.
      reference: the same under the reference model.
      batch: weights rows.
      beta: as in DPO.
      alpha: 1 is DPO, 0 cuts both completions to the shorter length. The paper tunes it for each model; 0.5 is a
        middle, not a setting of the paper.
    """
    shared = jnp.minimum(policy.chosen.length, policy.rejected.length)

    def reward(policy: Scores, reference: Scores) -> jax.Array:  # -> f32[B]
        position = jnp.cumsum(policy.mask, axis=-1)  # from 1
        return beta * log_ratio(policy, reference, jnp.where(position <= shared[:, None], 1.0, alpha))

    chosen, rejected = reward(policy.chosen, reference.chosen), reward(policy.rejected, reference.rejected)
    metrics = preference_metrics(policy, chosen, rejected, batch.weight)
    return Mean.of(-log_sigmoid(chosen - rejected), batch.weight), metrics
