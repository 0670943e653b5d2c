"""CPO: DPO without a reference, beside the likelihood. Xu et al. 2024, https://arxiv.org/abs/2401.08417."""

from jax.nn import log_sigmoid

from align_jax.losses.base import loss
from align_jax.losses.dpo import preference_metrics
from align_jax.types import Mean, Metrics, Pair, PreferenceBatch, Scores


@loss(batch=PreferenceBatch, needs_reference=False)
def cpo(
    policy: Pair[Scores], reference: None, batch: PreferenceBatch, *, beta: float = 0.1, alpha: float = 1.0
) -> tuple[Mean, Metrics]:
    """-log sigmoid(beta * (log-probability of chosen - of rejected)) + alpha * NLL(chosen), over whole completions.

    Both terms are averaged over pairs, as in the paper. TRL averages the NLL over all tokens of the batch instead,
    which makes it some hundred times weaker: a mixture of `cpo` with `alpha=0` and `chosen_nll`.

    Args:
      policy: scores f32[B, R] of both completions.
      reference: not read.
      batch: weights rows.
      beta: scale of the reward.
      alpha: weight of the NLL.
    """
    chosen, rejected = policy.chosen.total, policy.rejected.total
    losses = -log_sigmoid(beta * (chosen - rejected)) - alpha * chosen
    metrics = preference_metrics(policy, beta * chosen, beta * rejected, batch.weight)
    return Mean.of(losses, batch.weight), metrics | {"nll_loss": Mean.of(-chosen, batch.weight)}
