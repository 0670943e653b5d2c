"""PerPO: all pairs of several answers, by how far apart their rewards are. Zhu et al. 2025,
https://arxiv.org/abs/2502.04371."""

from collections.abc import Sequence
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.nn import log_sigmoid

from align_jax.losses.base import loss
from align_jax.losses.dpo import log_ratio, preference_metrics
from align_jax.losses.ranked import RankedBatch
from align_jax.types import Example, Mean, Metrics, PackTree, Pair, Scores, pytree


def wrong_scores(example: Example) -> str:
    scores = example.ranked_scores
    ranked = len(scores) >= len(example.ranked) and sorted(scores, reverse=True) == list(scores)
    return "" if ranked else "'scores' must hold one for each of 'ranked', the best first"


@pytree
class RewardedBatch(RankedBatch):
    """Ranked answers with the reward of each (the record's `scores`), such as an IoU."""

    reads: ClassVar = RankedBatch.reads._replace(check=wrong_scores)
    rewards: jax.Array  # f32[B, K]; 0 where there is no answer

    @classmethod
    def pack(cls, examples: Sequence[Example], pack_tree: PackTree) -> "RewardedBatch":
        ranked = RankedBatch.pack(examples, pack_tree)
        rewards = np.zeros(ranked.present.shape, np.float32)
        for example, row in zip(examples, rewards, strict=False):
            row[: len(example.ranked)] = example.ranked_scores[: len(example.ranked)]
        return cls(ranked.tree, ranked.weight, ranked.present, rewards)


@loss(batch=RewardedBatch)
def perpo(
    policy: Pair[Scores], reference: Pair[Scores], batch: RewardedBatch, *, beta: float = 0.1, form: str = "weight"
) -> tuple[Mean, Metrics]:
    """Sum over the pairs of a list of a DPO term that depends on the gap between the rewards; averaged over lists.

    UNVERIFIED: of the paper only the abstract could be read, which calls the reward "a quantitative margin for
    ranking". The forms below are two readings that it allows. Pairs of equal reward do not count.

    Args:
      policy: scores f32[B, N, R] of the better and the worse answer of each pair.
      reference: the same under the reference model.
      batch: rewards of the answers; weights pairs.
      beta: as in DPO.
      form: "weight": gap * -log sigmoid(beta * margin), so that far apart pairs count more; "margin":
        -log sigmoid(beta * margin - gap), so that they must be told apart more clearly.

    Raises:
      ValueError: another form.
    """
    better, worse = batch.pairs
    gap = batch.rewards[:, better] - batch.rewards[:, worse]  # f32[B, N]
    weight = jnp.where(gap > 0, batch.pair_weight, 0.0)
    chosen = beta * log_ratio(policy.chosen, reference.chosen)
    rejected = beta * log_ratio(policy.rejected, reference.rejected)
    if form == "weight":
        losses = -gap * log_sigmoid(chosen - rejected)
    elif form == "margin":
        losses = -log_sigmoid(chosen - rejected - gap)
    else:
        raise ValueError(f'form is "weight" or "margin", not {form!r}')
    total = Mean.of(losses, weight).total
    return Mean(total, batch.weight.sum()), preference_metrics(policy, chosen, rejected, weight)
