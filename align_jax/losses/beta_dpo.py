"""beta-DPO: beta follows the margins of the batch. Wu et al. 2024, https://arxiv.org/abs/2407.08639."""

import jax
import jax.numpy as jnp
from jax.nn import log_sigmoid

from align_jax.losses.base import loss
from align_jax.losses.dpo import log_ratio, preference_metrics
from align_jax.types import Mean, Metrics, Pair, PreferenceBatch, PromptTree, Scores, pytree


@pytree
class Margins:
    """Moving averages of the batches' margins."""

    mean: jax.Array  # f32[]
    std: jax.Array  # f32[]
    step: jax.Array  # i32[] batches seen; what the draws of a batch depend on


def no_margins() -> Margins:
    """Zeros: the averages are not corrected for their start, in the released code neither."""
    return Margins(jnp.zeros(()), jnp.zeros(()), jnp.zeros((), jnp.int32))


@loss(batch=PreferenceBatch, memory=no_margins)
def beta_dpo(
    policy: Pair[Scores],
    reference: Pair[Scores],
    batch: PreferenceBatch,
    memory: Margins,
    *,
    beta: float = 0.1,
    alpha: float = 0.6,
    filter_ratio: float = 0.2,
    decay: float = 0.9,
) -> tuple[Mean, Metrics, Margins]:
    """DPO on the pairs whose margins are usual, with beta * (1 + alpha * (their mean margin - the moving average)).

    The form is that of the released code (trainers.py): a margin is the difference of log-ratios, without beta; the
    moving averages start at 0 and take in the batch before they are used; beta is at least 0.001 and has no gradient.
    With the averages near 0, the first batches keep the pairs of the smallest margins.

    Args:
      policy: scores f32[B, R] of both completions.
      reference: the same under the reference model.
      batch: weights rows.
      memory: moving averages of mean and standard deviation of the margins.
      beta: beta of a batch whose margins are average.
      alpha: how far beta follows the margins; 0.6 in the authors' example. 0 with `filter_ratio=0` gives DPO.
      filter_ratio: share of pairs that is left out (`kept_rows`); 0 keeps all.
      decay: of the moving averages.
    """
    chosen, rejected = log_ratio(policy.chosen, reference.chosen), log_ratio(policy.rejected, reference.rejected)
    margins = jax.lax.stop_gradient(chosen - rejected)
    mean, std = moments(margins, batch.weight)
    memory = Margins(decay * memory.mean + (1 - decay) * mean, decay * memory.std + (1 - decay) * std, memory.step + 1)
    unusual = (margins - memory.mean) / jnp.maximum(memory.std, 1e-6)
    kept = batch.weight * kept_rows(-0.5 * unusual**2, batch, memory.step, filter_ratio)
    batch_beta = jnp.maximum(beta * (1 + alpha * (Mean.of(margins, kept).value - memory.mean)), 1e-3)
    metrics = preference_metrics(policy, beta * chosen, beta * rejected, batch.weight)
    metrics |= {"beta": Mean.of(jnp.full_like(batch.weight, batch_beta), batch.weight)}
    return Mean.of(-log_sigmoid(batch_beta * (chosen - rejected)), kept), metrics, memory


def moments(values: jax.Array, weight: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and standard deviation (divided by n - 1; 0 for a single one) of values f32[B], both f32[]."""
    mean = Mean.of(values, weight)
    squares = Mean.of(jnp.square(values - mean.value), weight)
    return mean.value, jnp.sqrt(squares.total / jnp.maximum(squares.count - 1, 1.0))


def kept_rows(log_weight: jax.Array, batch: PreferenceBatch, step: jax.Array, filter_ratio: float) -> jax.Array:
    """Draws rows without replacement, each by its weight, and leaves a share out: rounded up, but one row stays.

    The rows of the largest log-weight plus Gumbel noise are such a draw. The noise of a row comes from the step and
    from the row's tokens, so that neither its place in the batch nor the devices matter; rows of equal text (one
    question about two pictures) share it.

    Args:
      log_weight: f32[B], relative to each other.
      batch: weights rows; those of weight 0 are not drawn.
      step: i32[].
      filter_ratio: share that is left out; 0 keeps all.

    Returns:
      f32[B]: 1 for rows that are kept.
    """
    valid = batch.weight > 0
    if filter_ratio == 0:
        return valid.astype(log_weight.dtype)
    count = jnp.maximum(jnp.floor((1 - filter_ratio) * valid.sum() + 1e-3), 1.0)  # 0.8 * 5 may come out below 4
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.fold_in(jax.random.key(0), step), digest(batch.tree))
    score = jnp.where(valid, log_weight + jax.vmap(jax.random.gumbel)(keys), -jnp.inf)
    rank = jnp.argsort(jnp.argsort(-score))
    return (valid & (rank < count)).astype(log_weight.dtype)


def digest(tree: PromptTree) -> jax.Array:
    """u32[B]: a hash of the tokens of each row, of prompt and completions, without padding."""

    def flat(tokens: jax.Array, mask: jax.Array) -> jax.Array:
        return jnp.where(mask > 0, tokens + 1, 0).astype(jnp.uint32).reshape(len(tokens), -1)

    tokens = jnp.concatenate([flat(tree.prompt, tree.prompt_mask), flat(tree.targets, tree.mask)], 1)
    place = jnp.arange(tokens.shape[1], dtype=jnp.uint32)
    factor = (place * place * jnp.uint32(0x9E3779B1) + place * jnp.uint32(0x85EBCA6B)) | jnp.uint32(1)
    return (tokens * factor[None]).sum(1, dtype=jnp.uint32)
