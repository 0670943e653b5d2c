"""Negative log-likelihood of the chosen completion: the anchor in mixtures such as MPO, RPO and MM-DPO."""

from align_jax.losses.base import loss
from align_jax.types import Mean, Metrics, Pair, PreferenceBatch, Scores


@loss(batch=PreferenceBatch, needs_reference=False)
def chosen_nll(
    policy: Pair[Scores], reference: None, batch: PreferenceBatch, *, reduction: str = "token"
) -> tuple[Mean, Metrics]:
    """NLL of the chosen completion, without a reference.

    Args:
      policy: scores f32[B, R] of both completions.
      reference: not read.
      batch: weights rows.
      reduction: "token" averages over all tokens of the batch (InternVL's MPO); "sequence" sums over each completion
        and averages over pairs (CPO).

    Raises:
      ValueError: another reduction.
    """
    chosen = policy.chosen
    if reduction == "token":
        return Mean.of(-chosen.logps, chosen.mask * batch.weight[:, None]), {}
    if reduction == "sequence":
        return Mean.of(-chosen.total, batch.weight), {}
    raise ValueError(f'reduction is "token" or "sequence", not {reduction!r}')
