"""KTO: answers that are good or bad by themselves. Ethayarajh et al. 2024, https://arxiv.org/abs/2402.01306."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.nn import sigmoid

from align_jax.losses.base import loss
from align_jax.losses.dpo import log_ratio
from align_jax.losses.unpaired import ANSWERS, EMPTY, UnpairedBatch, fill, present, unpaired_metrics
from align_jax.types import Example, Mean, Metrics, PackTree, Scores, pytree, row_weight


@pytree
class MismatchedBatch(UnpairedBatch):
    """Unpaired answers, and to each prompt the answer of another example: K = 3, chosen, rejected, mismatched."""

    @classmethod
    def pack(cls, examples: Sequence[Example], pack_tree: PackTree) -> "MismatchedBatch":
        filled = [fill(e, mismatched=answer) for e, answer in zip(examples, mismatched(examples), strict=True)]
        tree = pack_tree(filled, (*ANSWERS, "mismatched"))
        return cls(tree, row_weight(examples, pack_tree.batch_size), present(examples, pack_tree.batch_size))

    def group(self, scores: tuple[Scores, ...]) -> "Mismatched":
        return Mismatched(*(scores[0].completion(k) for k in range(3)))


@pytree
class Mismatched:
    """Scores of both answers, and of one to another prompt; what is missing has an empty mask."""

    chosen: Scores
    rejected: Scores
    mismatched: Scores


def mismatched(examples: Sequence[Example]) -> list[np.ndarray]:
    """For each example an answer of the one before it, the last coming before the first; empty if there is none.

    Of two answers every other row takes the rejected one, so that both kinds are as common as among the answers.
    """
    if len(examples) < 2:
        return [EMPTY for _ in examples]
    others = [examples[i - 1].completions for i in range(len(examples))]
    names = [ANSWERS if i % 2 == 0 else ANSWERS[::-1] for i in range(len(examples))]
    return [next((o[n] for n in order if n in o), EMPTY) for o, order in zip(others, names, strict=True)]


@loss(batch=MismatchedBatch, coupled=True)
def kto(
    policy: Mismatched,
    reference: Mismatched,
    batch: MismatchedBatch,
    *,
    beta: float = 0.1,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
) -> tuple[Mean, Metrics]:
    """1 - sigmoid(beta * (log-ratio - z0)) of chosen answers, 1 - sigmoid(beta * (z0 - log-ratio)) of rejected ones.

    z0 estimates the KL divergence from the reference: the mean of the mismatched log-ratios over the batch, not less
    than 0, without gradient. With a single example there is nothing to mismatch, and z0 is 0: the method needs larger
    batches (TRL refuses such ones). The loss is averaged over answers, a record with both counting as two.

    Args:
      policy: scores f32[B, R].
      reference: the same under the reference model.
      batch: weights rows, and tells which answers there are.
      beta: as in DPO.
      desirable_weight: factor of chosen answers.
      undesirable_weight: factor of rejected ones. Where one kind is rarer, its factor should make up for it.
    """
    estimate = jax.lax.stop_gradient(log_ratio(policy.mismatched, reference.mismatched))
    there = (policy.mismatched.length > 0).astype(batch.weight.dtype)
    kl = jnp.maximum(Mean.of(estimate, batch.weight * there).value, 0.0)
    chosen, rejected = log_ratio(policy.chosen, reference.chosen), log_ratio(policy.rejected, reference.rejected)
    desirable = desirable_weight * sigmoid(-beta * (chosen - kl))
    undesirable = undesirable_weight * sigmoid(-beta * (kl - rejected))
    metrics = unpaired_metrics(policy, beta * chosen, beta * rejected, batch.answers)
    metrics |= {"kl": Mean.of(jnp.full_like(batch.weight, kl), batch.weight)}
    return Mean.of(jnp.stack([desirable, undesirable], -1), batch.answers), metrics
