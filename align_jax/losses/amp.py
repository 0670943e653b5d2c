"""AMP's multi-level DPO: all pairs of several ranked answers. Zhang et al. 2024, https://arxiv.org/abs/2405.11165."""

import jax.numpy as jnp

from align_jax.losses.base import loss
from align_jax.losses.dpo import dpo, log_ratio
from align_jax.losses.ranked import RankedBatch
from align_jax.types import Mean, Metrics, Pair, PreferenceBatch, Scores


@loss(batch=RankedBatch)
def amp(
    policy: Pair[Scores], reference: Pair[Scores], batch: RankedBatch, *, beta: float = 0.1, penalty: float = 1.0
) -> tuple[Mean, Metrics]:
    """DPO, averaged over all pairs of the batch, plus a penalty where the best answer becomes less likely.

    The penalty, log pi_ref(best) - log pi(best), is added to each pair that the best answer is part of: to K - 1 of
    K (K - 1) / 2, so that it weighs 2 / K in the mean. It is linear, not scaled by beta, and has no lower bound, as in
    the released code. There, tokens of the n-th round of a dialogue weigh 1 + 0.05 n; a completion is one round here.

    Args:
      policy: scores f32[B, N, R] of the better and the worse answer of each pair.
      reference: the same under the reference model.
      batch: weights pairs; a row with fewer answers has fewer of them.
      beta: as in DPO.
      penalty: weight of the penalty.
    """
    mean, metrics = dpo(policy, reference, PreferenceBatch(None, batch.pair_weight), beta=beta)
    drop = -log_ratio(policy.chosen, reference.chosen)
    with_best = batch.pair_weight * jnp.asarray(batch.pairs[0] == 0, jnp.float32)[None]
    total = mean.total + penalty * Mean.of(drop, with_best).total
    return Mean(total, mean.count), metrics
