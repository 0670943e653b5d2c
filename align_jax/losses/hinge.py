"""Hinge loss on the implicit reward margin. SLiC-HF, Zhao et al. 2023, https://arxiv.org/abs/2305.10425.

SLiC-HF compares log-probabilities without a reference. This is the form normalised by the reference, as in RSO (Liu et
al. 2023, https://arxiv.org/abs/2309.06657) and TRL.
"""

import jax

from align_jax.losses.base import loss
from align_jax.losses.dpo import log_ratio, preference_metrics
from align_jax.types import Mean, Metrics, Pair, PreferenceBatch, Scores


@loss(batch=PreferenceBatch)
def hinge(
    policy: Pair[Scores], reference: Pair[Scores], batch: PreferenceBatch, *, beta: float = 0.1
) -> tuple[Mean, Metrics]:
    """max(0, 1 - beta * margin): pairs whose margin reaches 1 / beta no longer pull.

    Args:
      policy: scores f32[B, R] of both completions.
      reference: the same under the reference model.
      batch: weights rows.
      beta: inverse of the margin that is asked for.
    """
    chosen, rejected = log_ratio(policy.chosen, reference.chosen), log_ratio(policy.rejected, reference.rejected)
    losses = jax.nn.relu(1 - beta * (chosen - rejected))
    return Mean.of(losses, batch.weight), preference_metrics(policy, beta * chosen, beta * rejected, batch.weight)
