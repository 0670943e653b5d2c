"""Direct preference optimization. Rafailov et al. 2023, https://arxiv.org/abs/2305.18290, equation 7."""

import jax
from jax.nn import log_sigmoid

from align_jax.losses.base import loss
from align_jax.types import Mean, Metrics, Pair, PreferenceBatch, Scores


@loss(batch=PreferenceBatch)
def dpo(
    policy: Pair[Scores],
    reference: Pair[Scores],
    batch: PreferenceBatch,
    *,
    beta: float = 0.1,
    label_smoothing: float = 0.0,
) -> tuple[Mean, Metrics]:
    """-log sigmoid(beta * margin), the margin being the chosen minus the rejected log-ratio to the reference.

    Args:
      policy: scores f32[B, R] of both completions.
      reference: the same under the reference model.
      batch: weights rows.
      beta: strength of the pull towards the reference; 0.1 to 0.5 in the paper.
      label_smoothing: probability that a label is flipped (conservative DPO, https://ericmitchell.ai/cdpo.pdf,
        equation 3); 0 gives DPO.
    """
    chosen, rejected = log_ratio(policy.chosen, reference.chosen), log_ratio(policy.rejected, reference.rejected)
    logits = beta * (chosen - rejected)
    losses = -(1 - label_smoothing) * log_sigmoid(logits) - label_smoothing * log_sigmoid(-logits)
    return Mean.of(losses, batch.weight), preference_metrics(policy, beta * chosen, beta * rejected, batch.weight)


def log_ratio(policy: Scores, reference: Scores, weights: jax.Array | None = None) -> jax.Array:
    """f32[B]: log pi(y|x) - log pi_ref(y|x), of which each token may have a weight, f32[B, R].

    The difference is taken token by token: totals are large, and their difference would lose what float32 has.
    """
    ratio = policy.logps - reference.logps
    return (ratio if weights is None else weights * ratio).sum(-1)


def preference_metrics(policy: Pair[Scores], chosen: jax.Array, rejected: jax.Array, weight: jax.Array) -> Metrics:
    """Metrics of every pairwise method under TRL's names; `chosen` and `rejected` are implicit rewards f32[B]."""
    return {
        "rewards/chosen": Mean.of(chosen, weight),
        "rewards/rejected": Mean.of(rejected, weight),
        "rewards/margins": Mean.of(chosen - rejected, weight),
        "rewards/accuracies": Mean.of((chosen > rejected).astype(chosen.dtype), weight),
        "logps/chosen": Mean.of(policy.chosen.total, weight),
        "logps/rejected": Mean.of(policy.rejected.total, weight),
    }
