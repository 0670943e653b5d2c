"""DAMA: beta follows the data's hardness and the model's margins. Lu et al. 2025, https://arxiv.org/abs/2502.01943."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from jax.nn import log_sigmoid, sigmoid

from align_jax.losses.base import loss
from align_jax.losses.beta_dpo import kept_rows
from align_jax.losses.dpo import log_ratio, preference_metrics
from align_jax.types import Mean, MeasuredBatch, Metrics, Pair, PreferenceBatch, Scores, pytree


@pytree
class ClipGapBatch(MeasuredBatch):
    """Pairs with the CLIP score of the chosen answer's statements less that of the rejected one's (`clip_gap`)."""

    reads: ClassVar = PreferenceBatch.reads._replace(numbers=("clip_gap",))


@pytree
class AverageMargin:
    """A moving average of the batches' margins."""

    mean: jax.Array  # f32[]
    step: jax.Array  # i32[] batches seen; what the draws of a batch depend on


def no_margin() -> AverageMargin:
    """Zero, as in the released code: the average is not corrected for its start."""
    return AverageMargin(jnp.zeros(()), jnp.zeros((), jnp.int32))


@loss(batch=ClipGapBatch, memory=no_margin)
def dama(
    policy: Pair[Scores],
    reference: Pair[Scores],
    batch: ClipGapBatch,
    memory: AverageMargin,
    *,
    beta: float = 0.1,
    mean_gap: float = 0.0482190464911681,
    filter_ratio: float = 0.2,
    decay: float = 0.9,
) -> tuple[Mean, Metrics, AverageMargin]:
    """DPO on the pairs whose margins are usual, with a beta of each pair: beta * data factor * model factor.

    The data factor is sigmoid(clip_gap) / sigmoid(mean_gap). The model factor is the mean of sigmoid(margin) over the
    pairs that are kept, divided by sigmoid(moving average of margins); a margin is the difference of log-ratios,
    without beta. The form is that of the released code (train_dpo.py): the average starts at 0 and takes in the batch
    after it was used, the draw has no standard deviation, unlike that of beta-DPO, and beta is at least 0.001, without
    gradient. The paper's algorithm has the sigmoid of the mean margin instead; its equations were not compared.

    Args:
      policy: scores f32[B, R] of both completions.
      reference: the same under the reference model.
      batch: weights rows, and tells the gap of each pair.
      memory: moving average of the margins.
      beta: beta of an average pair in an average batch.
      mean_gap: mean of `clip_gap` over the data set. The default is that of the authors' 22k pairs of RLAIF-V: other
        data need their own.
      filter_ratio: share of pairs that is left out (`beta_dpo.kept_rows`); 0 keeps all.
      decay: of the moving average.
    """
    chosen, rejected = log_ratio(policy.chosen, reference.chosen), log_ratio(policy.rejected, reference.rejected)
    margins = jax.lax.stop_gradient(chosen - rejected)
    kept = batch.weight * kept_rows(-0.5 * jnp.square(margins - memory.mean), batch, memory.step, filter_ratio)
    data = sigmoid(batch.numbers["clip_gap"]) / sigmoid(mean_gap)
    model = Mean.of(sigmoid(margins), kept).value / sigmoid(memory.mean)
    pair_beta = jnp.maximum(beta * data * model, 1e-3)
    average = decay * memory.mean + (1 - decay) * Mean.of(margins, batch.weight).value
    metrics = preference_metrics(policy, beta * chosen, beta * rejected, batch.weight)
    metrics |= {"beta": Mean.of(pair_beta, batch.weight)}
    losses = -log_sigmoid(pair_beta * (chosen - rejected))
    return Mean.of(losses, kept), metrics, AverageMargin(average, memory.step + 1)
