"""Preference optimization of contrastive models. Afzali et al. 2024, https://arxiv.org/abs/2411.08923.

A dual encoder such as CLIP is a policy of one step: it picks a text for a picture, out of K candidates.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from align_jax.losses.base import loss
from align_jax.losses.dpo import dpo, log_ratio, preference_metrics
from align_jax.losses.ipo import ipo
from align_jax.types import (
    Example,
    Mean,
    Metrics,
    PackTree,
    PreferenceBatch,
    PromptTree,
    Reads,
    Scores,
    pytree,
    row_weight,
)

ABSENT = -1e30  # log-probability of a candidate that is not there


@pytree
class ContrastiveBatch(PreferenceBatch):
    """Pictures under attack, and the same pictures clean (view "clean"), each with all texts to pick from.

    Candidate 0 is what the picture shows, 1 what the attack says; then come up to `reads.ranked` others (`ranked`, in
    any order). Where a record has fewer, the rest are masked.
    """

    reads: ClassVar = Reads(completions=("chosen", "rejected"), views=("clean",), ranked=8)
    clean: PromptTree  # K as `tree`

    @classmethod
    def pack(cls, examples: Sequence[Example], pack_tree: PackTree) -> "ContrastiveBatch":
        names = ("chosen", "rejected", *(f"candidate {i}" for i in range(cls.reads.ranked)))
        listed = [_listed(example, names) for example in examples]
        weight = row_weight(examples, pack_tree.batch_size)
        return cls(pack_tree(listed, names), weight, pack_tree(listed, names, view="clean"))

    def trees(self) -> tuple[PromptTree, ...]:
        return (self.tree, self.clean)

    def group(self, scores: tuple[Scores, ...]) -> "Candidates":
        attacked, clean = scores
        return Candidates(attacked.completion(0), attacked.completion(1), clean)


def _listed(example: Example, names: Sequence[str]) -> Example:
    """The example with all candidates as completions by name; those that it lacks are empty."""
    texts = [example.completions["chosen"], example.completions["rejected"], *example.ranked]
    texts = (texts + [np.zeros(0, np.int32)] * len(names))[: len(names)]
    return dataclasses.replace(example, completions=dict(zip(names, texts, strict=True)))


@pytree
class Candidates:
    """A pair given the attacked picture, and all candidates given the clean one."""

    chosen: Scores  # [B, R]
    rejected: Scores
    clean: Scores  # [B, K, R]


DEFAULTS = {"dpo": (1.0, 1.0), "ipo": (0.01, 0.01), "kto": (1.5, 0.01)}  # beta and lam


@loss(batch=ContrastiveBatch, coupled=True)
def contrastive_po(
    policy: Candidates,
    reference: Candidates,
    batch: ContrastiveBatch,
    *,
    kind: str = "dpo",
    beta: float | None = None,
    lam: float | None = None,
) -> tuple[Mean, Metrics]:
    """A preference loss on attacked pictures, plus lam * KL(reference : policy) on clean ones.

    The divergence is over all candidates of a picture, so that what was right there stays as it was. KTO takes pairs
    apart, each half weighing 1/2, and its zero point is the divergence on the clean pictures of the batch, without a
    gradient: that is the authors' code; the paper's text of it was not compared.

    Args:
      policy: scores of a dual encoder. Of a language model, clean candidates are normalised over each other.
      reference: the same under the reference model; no gradient passes.
      batch: weights rows.
      kind: "dpo", "ipo" (of whole log-probabilities) or "kto" (which makes rows depend on each other).
      beta: as in DPO, IPO (its tau) or KTO. None is what the authors set: 1, 0.01 and 1.5.
      lam: weight of the divergence. None is what the authors set: 1, 0.01 and 0.01, that of IPO in its training script
        alone, which does not hand it on to the loss, so that 1 is taken.

    Raises:
      ValueError: another kind.
    """
    if kind not in DEFAULTS:
        raise ValueError(f"kind is one of {', '.join(DEFAULTS)}, not {kind!r}")
    beta = DEFAULTS[kind][0] if beta is None else beta
    lam = DEFAULTS[kind][1] if lam is None else lam
    reference = jax.lax.stop_gradient(reference)
    kl = Mean.of(divergence(policy.clean, reference.clean), batch.weight)
    preferences: dict[str, Callable] = {
        "dpo": lambda: dpo(policy, reference, batch, beta=beta),
        "ipo": lambda: ipo(policy, reference, batch, beta=beta, reduction="sequence"),
        "kto": lambda: _kto(policy, reference, batch, beta, jax.lax.stop_gradient(kl.value)),
    }
    preference, metrics = preferences[kind]()
    return Mean(preference.total + lam * kl.total, preference.count), metrics | {"kl": kl}


def divergence(policy: Scores, reference: Scores) -> jax.Array:
    """f32[B]: KL(reference : policy) between choices among candidates, of scores [B, K, R]."""

    def log_probs(scores: Scores) -> jax.Array:  # f32[B, K]
        return jax.nn.log_softmax(jnp.where(scores.length > 0, scores.total, ABSENT))

    ours, theirs = log_probs(policy), log_probs(reference)
    return (jnp.exp(theirs) * (theirs - ours)).sum(-1)


def _kto(
    policy: Candidates, reference: Candidates, batch: ContrastiveBatch, beta: float, zero: jax.Array
) -> tuple[Mean, Metrics]:
    chosen, rejected = log_ratio(policy.chosen, reference.chosen), log_ratio(policy.rejected, reference.rejected)
    losses = (jax.nn.sigmoid(beta * (zero - chosen)) + jax.nn.sigmoid(beta * (rejected - zero))) / 2
    return Mean.of(losses, batch.weight), preference_metrics(policy, beta * chosen, beta * rejected, batch.weight)
