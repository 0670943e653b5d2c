"""Binary classifier optimization, on pairs. Jung et al. 2024, https://arxiv.org/abs/2404.04656; a part of MPO."""

import jax
import jax.numpy as jnp
from jax.nn import log_sigmoid

from align_jax.losses.base import loss
from align_jax.losses.dpo import log_ratio, preference_metrics
from align_jax.types import Mean, Metrics, Pair, PreferenceBatch, Scores


def no_rewards() -> Mean:
    """The mean reward of a run that has seen none."""
    return Mean(jnp.zeros(()), jnp.zeros(()))


@loss(batch=PreferenceBatch, memory=no_rewards)
def bco(
    policy: Pair[Scores],
    reference: Pair[Scores],
    batch: PreferenceBatch,
    memory: Mean,
    *,
    beta: float = 0.1,
    shift: bool = True,
) -> tuple[Mean, Metrics, Mean]:
    """-log sigmoid(reward of chosen - delta) - log sigmoid(delta - reward of rejected); rewards are beta * log-ratio.

    delta is the mean of all rewards so far, chosen and rejected, those of this batch included, without gradient. It is
    a plain mean over pairs, not a moving one. TRL 0.24 takes the mean over steps, which is the same where batches are
    full; the paper's own estimate was not compared.

    Args:
      policy: scores f32[B, R] of both completions.
      reference: the same under the reference model.
      batch: weights rows.
      memory: rewards so far.
      beta: as in DPO.
      shift: whether to subtract delta. Without it, this is `bco_pair` of TRL 1.
    """
    chosen = beta * log_ratio(policy.chosen, reference.chosen)
    rejected = beta * log_ratio(policy.rejected, reference.rejected)
    memory = jax.lax.stop_gradient(memory + Mean.of(chosen, batch.weight) + Mean.of(rejected, batch.weight))
    delta = memory.value if shift else 0.0
    losses = -log_sigmoid(chosen - delta) - log_sigmoid(delta - rejected)
    metrics = preference_metrics(policy, chosen, rejected, batch.weight)
    metrics |= {"delta": Mean.of(jnp.full_like(batch.weight, delta), batch.weight)}
    return Mean.of(losses, batch.weight), metrics, memory
