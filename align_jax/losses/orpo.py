"""ORPO: an odds ratio beside the likelihood. Hong et al. 2024, https://arxiv.org/abs/2403.07691, equations 6 and 7."""

import jax
import jax.numpy as jnp
from jax.nn import log1mexp, log_sigmoid

from align_jax.losses.base import loss
from align_jax.losses.dpo import preference_metrics
from align_jax.types import Mean, Metrics, Pair, PreferenceBatch, Scores


@loss(batch=PreferenceBatch, needs_reference=False)
def orpo(
    policy: Pair[Scores], reference: None, batch: PreferenceBatch, *, lambda_: float = 0.1, nll: bool = True
) -> tuple[Mean, Metrics]:
    """NLL of the chosen completion, minus lambda * log sigmoid(log odds of chosen - log odds of rejected).

    A completion's likelihood is the mean of its token log-probabilities, in the odds and in the NLL alike (equation
    2); both are averaged over pairs. TRL averages the NLL over all tokens of the batch instead, those of the prompt
    included. Without the prompt, that is a mixture of `orpo` with `nll=False` and `chosen_nll`.

    Args:
      policy: scores f32[B, R] of both completions.
      reference: not read.
      batch: weights rows.
      lambda_: weight of the odds ratio. 0.1 is TRL's default (its `beta`), 1.0 that of the released code (`alpha`).
      nll: whether to add the NLL.
    """
    chosen, rejected = policy.chosen.mean, policy.rejected.mean
    log_ratio = log_odds(chosen) - log_odds(rejected)
    preferred = log_sigmoid(log_ratio)
    losses = -lambda_ * preferred - (chosen if nll else 0.0)
    metrics = preference_metrics(policy, lambda_ * chosen, lambda_ * rejected, batch.weight)
    return Mean.of(losses, batch.weight), metrics | {
        "nll_loss": Mean.of(-chosen, batch.weight),
        "log_odds_ratio": Mean.of(preferred, batch.weight),
        "log_odds_chosen": Mean.of(log_ratio, batch.weight),
    }


def log_odds(logp: jax.Array) -> jax.Array:
    """log(p / (1 - p)) of log-probabilities; of certain ones, such as those of empty completions, a large number."""
    return logp - log1mexp(jnp.maximum(-logp, 1e-6))
