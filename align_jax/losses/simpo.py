"""SimPO: no reference, lengths divided out. Meng et al. 2024, https://arxiv.org/abs/2405.14734, equation 6."""

from jax.nn import log_sigmoid

from align_jax.losses.base import loss
from align_jax.losses.dpo import preference_metrics
from align_jax.types import Mean, Metrics, Pair, PreferenceBatch, Scores


@loss(batch=PreferenceBatch, needs_reference=False)
def simpo(
    policy: Pair[Scores], reference: None, batch: PreferenceBatch, *, beta: float = 2.0, gamma: float = 1.0
) -> tuple[Mean, Metrics]:
    """-log sigmoid(beta * (mean log-probability of chosen - of rejected) - gamma), the means being per token.

    Args:
      policy: scores f32[B, R] of both completions.
      reference: not read.
      batch: weights rows.
      beta: scale of the reward; per token, hence larger than that of DPO.
      gamma: margin of rewards, as in the paper. The released configs give gamma / beta instead: 0.5 to 0.55 with beta
        2.0 to 2.5 (Llama 3), 0.8 with 2.0 (Mistral), 0.3 to 0.5 with 10 (Gemma 2).
    """
    chosen, rejected = beta * policy.chosen.mean, beta * policy.rejected.mean
    metrics = preference_metrics(policy, chosen, rejected, batch.weight)
    return Mean.of(-log_sigmoid(chosen - rejected - gamma), batch.weight), metrics
