"""Binary classifier optimization, without pairs. Jung et al. 2024, https://arxiv.org/abs/2404.04656."""

from collections.abc import Sequence
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax.nn import log_sigmoid

from align_jax.losses.base import loss
from align_jax.losses.bco import no_rewards
from align_jax.losses.dpo import log_ratio
from align_jax.losses.unpaired import UnpairedBatch, unpaired_metrics
from align_jax.types import Example, Mean, Metrics, PackTree, Pair, Reads, Scores, numbers, pytree


@loss(batch=UnpairedBatch, memory=no_rewards)
def bco_unpaired(
    policy: Pair[Scores],
    reference: Pair[Scores],
    batch: UnpairedBatch,
    memory: Mean,
    *,
    beta: float = 0.1,
    shift: bool = True,
) -> tuple[Mean, Metrics, Mean]:
    """-log sigmoid(reward - delta) of chosen answers, -log sigmoid(delta - reward) of rejected ones; as in `bco`.

    Averaged over answers, where `bco` adds the two of a pair: on pairs it is half of that. delta is the mean over all
    answers, as in TRL's former BCO trainer, however many there are of either kind.

    Args:
      policy: scores f32[B, R] of both completions.
      reference: the same under the reference model.
      batch: weights rows, and tells which answers there are.
      memory: rewards so far.
      beta: as in DPO.
      shift: whether to subtract delta.
    """
    return weighted(policy, reference, batch, memory, jnp.ones_like(batch.weight), beta, shift)


@pytree
class DensityRatioBatch(UnpairedBatch):
    """Unpaired answers with the density ratio of each prompt (field `density_ratio`), from a classifier of prompts.

    If p is the probability that a prompt is one of those with a chosen answer, the ratio is p / (1 - p).
    """

    reads: ClassVar = Reads(numbers=("density_ratio",))
    numbers: dict[str, jax.Array]  # f32[B]

    @classmethod
    def pack(cls, examples: Sequence[Example], pack_tree: PackTree) -> "DensityRatioBatch":
        answers = UnpairedBatch.pack(examples, pack_tree)
        ratios = numbers(cls.reads.numbers, examples, pack_tree.batch_size)
        return cls(answers.tree, answers.weight, answers.present, ratios)


@loss(batch=DensityRatioBatch, memory=no_rewards)
def udm(
    policy: Pair[Scores],
    reference: Pair[Scores],
    batch: DensityRatioBatch,
    memory: Mean,
    *,
    beta: float = 0.1,
    shift: bool = True,
    min_ratio: float = 0.5,
    max_ratio: float = 10.0,
) -> tuple[Mean, Metrics, Mean]:
    """BCO with underlying distribution matching: rejected answers weigh as their prompts' density ratio. It is named
    "bco_unpaired:udm".

    It matters where chosen and rejected answers belong to prompts of different kinds. The classifier that tells them
    apart (TRL: a logistic regression over embeddings of 1024 prompts) is not part of this project.

    Args:
      policy: scores f32[B, R] of both completions.
      reference: the same under the reference model.
      batch: weights rows, tells which answers there are and the density ratio of each prompt.
      memory: rewards so far.
      beta: as in DPO.
      shift: whether to subtract delta.
      min_ratio: smallest weight of a rejected answer.
      max_ratio: largest.
    """
    ratio = jnp.clip(batch.numbers["density_ratio"], min_ratio, max_ratio)
    return weighted(policy, reference, batch, memory, ratio, beta, shift)


def weighted(
    policy: Pair[Scores],
    reference: Pair[Scores],
    batch: UnpairedBatch,
    memory: Mean,
    ratio: jax.Array,
    beta: float,
    shift: bool,
) -> tuple[Mean, Metrics, Mean]:
    """BCO whose rejected answers weigh `ratio` f32[B]."""
    chosen = beta * log_ratio(policy.chosen, reference.chosen)
    rejected = beta * log_ratio(policy.rejected, reference.rejected)
    memory = jax.lax.stop_gradient(memory + Mean.of(jnp.stack([chosen, rejected], -1), batch.answers))
    delta = memory.value if shift else 0.0
    losses = jnp.stack([-log_sigmoid(chosen - delta), -ratio * log_sigmoid(delta - rejected)], -1)
    metrics = unpaired_metrics(policy, chosen, rejected, batch.answers)
    metrics |= {"delta": Mean.of(jnp.full_like(batch.weight, delta), batch.weight)}
    return Mean.of(losses, batch.answers), metrics, memory
