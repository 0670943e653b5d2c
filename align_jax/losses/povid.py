"""POVID, stage 2: the tokens that a noised image would bring. Zhou et al. 2024, https://arxiv.org/abs/2402.11411."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import ClassVar

import jax.numpy as jnp

from align_jax.losses.base import loss
from align_jax.losses.dpo import dpo
from align_jax.types import Example, Mean, Metrics, PackTree, Pair, PreferenceBatch, PromptTree, Scores, pytree


@pytree
class NoisyBatch(PreferenceBatch):
    """Pairs, and the chosen completion behind a noised image (`Example.views["corrupted"]`).

    After `own_tokens`, `tree` has a third completion, and `noisy` is gone.
    """

    reads: ClassVar = PreferenceBatch.reads._replace(views=("corrupted",))
    noisy: PromptTree | None  # K = 1

    @classmethod
    def pack(cls, examples: Sequence[Example], pack_tree: PackTree) -> "NoisyBatch":
        pair = PreferenceBatch.pack(examples, pack_tree)
        return cls(pair.tree, pair.weight, pack_tree(examples, ("chosen",), view="corrupted"))

    def trees(self) -> tuple[PromptTree, ...]:
        return (self.tree,) if self.noisy is None else (self.tree, self.noisy)

    def group(self, scores: tuple[Scores, ...]) -> "OwnTriple":
        if len(scores) > 1:
            raise ValueError("povid scores what `own_tokens` returned, not the batch as it was packed")
        return OwnTriple(*(scores[0].completion(k) for k in range(3)))


@pytree
class OwnTriple:
    """A pair, and at each position of the chosen completion the token that the noised image makes likeliest."""

    chosen: Scores
    rejected: Scores
    own: Scores


def own_tokens(
    batch: NoisyBatch, policy: Callable[[PromptTree], Scores], reference: Callable[[PromptTree], Scores]
) -> tuple[NoisyBatch, NoisyBatch]:
    """Adds to the clean tree, as targets, each model's own top tokens on the noised image, the chosen text being fed.

    Args:
      batch: as packed.
      policy: scores a tree, with `top`.
      reference: likewise.

    Returns:
      What the policy and what the reference is to score.
    """

    def with_own(model: Callable[[PromptTree], Scores]) -> NoisyBatch:
        def added(field: str, own):  # -> [B, 3, R]
            return jnp.concatenate([getattr(batch.tree, field), own], axis=1)

        chosen = {field: getattr(batch.tree, field)[:, :1] for field in ("tokens", "mask")}
        fields = {field: added(field, own) for field, own in (chosen | {"targets": model(batch.noisy).top}).items()}
        return dataclasses.replace(batch, tree=dataclasses.replace(batch.tree, **fields), noisy=None)

    return with_own(policy), with_own(reference)


@loss(batch=NoisyBatch, statistics=("top",), prepare=own_tokens)
def povid(policy: OwnTriple, reference: OwnTriple, batch: NoisyBatch, *, beta: float = 0.1) -> tuple[Mean, Metrics]:
    """Half of DPO against the rejected completion and half of DPO against the model's own tokens on a noised image.

    As in the authors' code, the own tokens are found on the noised image and scored on the clean one, and policy and
    reference each have their own, so that this log-ratio compares different tokens. The noise is 500 of 1000 steps.
    Stage 1 is plain DPO.

    Args:
      policy: scores f32[B, R].
      reference: the same under the reference model, with its own tokens.
      batch: weights rows.
      beta: as in DPO, for both terms.
    """
    text, metrics = dpo(policy, reference, batch, beta=beta)
    pair, reference_pair = Pair(policy.chosen, policy.own), Pair(reference.chosen, reference.own)
    own, own_metrics = dpo(pair, reference_pair, batch, beta=beta)
    metrics = metrics | {"rewards/own": own_metrics["rewards/rejected"], "logps/own": own_metrics["logps/rejected"]}
    return Mean(0.5 * text.total + 0.5 * own.total, text.count), metrics
