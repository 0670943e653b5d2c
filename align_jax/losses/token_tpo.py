"""TPO: tokens weighed by how much they owe to the image. Gu et al. 2024, https://arxiv.org/abs/2412.14487."""

import dataclasses

import jax
import jax.numpy as jnp
from jax.nn import log_sigmoid

from align_jax.losses.base import loss
from align_jax.losses.dpo import log_ratio, preference_metrics
from align_jax.losses.v_dpo import CorruptedPair, CorruptedPairBatch
from align_jax.types import Mean, Metrics, Scores


@loss(batch=CorruptedPairBatch, statistics=("logits",))
def token_tpo(
    policy: CorruptedPair, reference: CorruptedPair, batch: CorruptedPairBatch, *, beta: float = 0.1
) -> tuple[Mean, Metrics]:
    """DPO with log p_t + log c_t at each token, c_t being between 1/2 and 3/2.

    s_t is the raw logit of token t given the image less that given the corrupted one; c_t = 1/2 + sigmoid(s_t) in the
    chosen and 1/2 + sigmoid(-s_t) in the rejected completion. As in the authors' code, s is part of the gradient, and
    the reference has its own. The paper's formula was not read: this is the code's.

    Args:
      policy: scores f32[B, R] with `logits`, behind the right and behind the corrupted image.
      reference: the same under the reference model.
      batch: weights rows. The authors corrupt images by 500 of 1000 steps of diffusion noise.
      beta: as in DPO.
    """

    def reward(side: str, sign: float) -> jax.Array:  # -> f32[B]
        def calibrated(pair: CorruptedPair) -> Scores:
            right, corrupted = getattr(pair, side), getattr(pair, f"{side}_corrupted")
            log_c = jnp.log(0.5 + jax.nn.sigmoid(sign * (right.logits - corrupted.logits)))
            return dataclasses.replace(right, logps=right.logps + right.mask * log_c)

        return beta * log_ratio(calibrated(policy), calibrated(reference))

    chosen, rejected = reward("chosen", 1.0), reward("rejected", -1.0)
    metrics = preference_metrics(policy, chosen, rejected, batch.weight)
    return Mean.of(-log_sigmoid(chosen - rejected), batch.weight), metrics
