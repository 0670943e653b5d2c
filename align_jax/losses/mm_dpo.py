"""MM-DPO: beta grows with a reward model's margin. MM-RLHF, Zhang et al. 2025, https://arxiv.org/abs/2502.10391."""

from typing import ClassVar

import jax.numpy as jnp

from align_jax.losses.base import loss
from align_jax.losses.dpo import dpo
from align_jax.types import Mean, MeasuredBatch, Metrics, Pair, PreferenceBatch, Scores, pytree


@pytree
class MarginBatch(MeasuredBatch):
    """Pairs with the reward model's score of the chosen answer less that of the rejected one (`margin`)."""

    reads: ClassVar = PreferenceBatch.reads._replace(numbers=("margin",))


@loss(batch=MarginBatch)
def mm_dpo(
    policy: Pair[Scores],
    reference: Pair[Scores],
    batch: MarginBatch,
    *,
    beta: float = 0.1,
    w: float = 0.5,
    k: float = 0.5,
    form: str = "paper",
) -> tuple[Mean, Metrics]:
    """DPO with a beta of each pair: beta * (1 + w * (1 - exp(-k * margin))), from beta to (1 + w) * beta.

    The paper adds the NLL of the chosen answer: a mixture with `chosen_nll`. The formula was read in notes that quote
    the paper, not in the paper itself.

    The released trainer differs (`form="code"`): the data hold 1 - exp(-k * margin), or whatever stands for it, in
    place of the margin (its `ls_factor`; no script that makes it is released), and beta is at least 0.001 but has no
    upper bound; its script has w = 0.1. By default that trainer then puts a beta of the batch's own margins in the
    place of all this (`implicit_beta`, close to `beta_dpo` without the draw): not done here. Its label_smoothing is
    swapped: what it calls 1.0 is DPO without smoothing, and 0.0 prefers the rejected answer.

    Args:
      policy: scores f32[B, R] of both completions.
      reference: the same under the reference model.
      batch: weights rows, and tells the margin of each pair.
      beta: smallest beta, that of a pair without margin.
      w: how much larger beta may get, relative to `beta`.
      k: how fast it gets there.
      form: "paper", or "code".

    Raises:
      ValueError: another form.
    """
    margin = batch.numbers["margin"]
    if form == "paper":
        pair_beta = jnp.clip(beta * (1 - w * jnp.expm1(-k * margin)), beta, (1 + w) * beta)
    elif form == "code":
        pair_beta = jnp.maximum(beta * (1 + w * margin), 1e-3)
    else:
        raise ValueError(f'form is "paper" or "code", not {form!r}')
    mean, metrics = dpo(policy, reference, batch, beta=pair_beta)
    return mean, metrics | {"beta": Mean.of(pair_beta, batch.weight)}
