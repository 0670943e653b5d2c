"""CHiP: preferences between images, texts, segments and tokens. Fu et al. 2025, https://arxiv.org/abs/2501.16629."""

from collections.abc import Sequence
from typing import ClassVar

import jax
from jax.lax import stop_gradient
from jax.nn import log_sigmoid

from align_jax.losses.base import loss
from align_jax.losses.dense_dpo import DensePreferenceBatch, dense_dpo
from align_jax.losses.dpo import dpo, log_ratio, preference_metrics
from align_jax.losses.image_dpo import image_dpo
from align_jax.losses.mdpo import ImagePair, ImagePairBatch
from align_jax.types import Example, Mean, Metrics, PackTree, Scores, pytree


@pytree
class HierarchicalBatch(DensePreferenceBatch, ImagePairBatch):
    """Pairs with marks on changed tokens, and the chosen completion once more behind a corrupted image."""

    reads: ClassVar = ImagePairBatch.reads

    @classmethod
    def pack(cls, examples: Sequence[Example], pack_tree: PackTree) -> "HierarchicalBatch":
        dense = DensePreferenceBatch.pack(examples, pack_tree)
        return cls(**vars(dense), corrupted=pack_tree(examples, ("chosen",), view="corrupted"))


@loss(batch=HierarchicalBatch, statistics=("kl",))
def chip(
    policy: ImagePair,
    reference: ImagePair,
    batch: HierarchicalBatch,
    *,
    beta: float = 0.5,
    response_weight: float = 1.0,
    lam: float = 1.0,
    gam: float = 0.1,
    segment_weight: float = 4.0,
    normalize: bool = True,
    form: str = "paper",
) -> tuple[Mean, Metrics]:
    """Image DPO + response_weight * DPO + lam * dense DPO + gam * (sg(beta * KL(chosen)) - beta * KL(rejected)).

    KL is that of the policy from the reference, over the whole vocabulary, summed over the tokens of a completion:
    the last term pushes the policy away from the reference where it writes the rejected answer. Of the paper, the form
    and the constants were read at second hand; beta, gam and how segments are weighted are unverified.

    Args:
      policy: scores f32[B, R]; of chosen and rejected also `kl`.
      reference: the same under the reference model, without `kl`.
      batch: weights rows and marks changed tokens. The authors corrupt images by 500 of 1000 steps of diffusion noise.
      beta: as in DPO, for all terms.
      response_weight: of DPO.
      lam: of dense DPO; 1 for Muffin, 3 for LLaVA-1.6.
      gam: of the token term; in the code form its weight inside the sigmoid (0.1 there).
      segment_weight: of changed tokens; 4 in the released script for LLaVA, 2 in that for Muffin.
      normalize: whether dense DPO divides by the sum of the weights, as RLHF-V's paper does.
      form: "paper", or "code", which adds everything up inside one sigmoid, all log-ratios being weighted by segment
        and none divided: -log sigmoid(beta * (chosen - rejected + chosen - corrupted
        - gam * (KL(rejected) - sg(KL(chosen))))); `response_weight`, `lam` and `normalize` are not read. Released
        with beta 0.1. The authors' weighting of the reference behind the corrupted image, which multiplies a total by
        the sum of the weights, is not repeated here.

    Raises:
      ValueError: another form.
    """
    kl = policy.chosen.kl.sum(-1), policy.rejected.kl.sum(-1)
    tokens = stop_gradient(kl[0]) - kl[1]
    extra = {"kl/chosen": Mean.of(kl[0], batch.weight), "kl/rejected": Mean.of(kl[1], batch.weight)}
    if form == "paper":
        image, image_metrics = image_dpo(policy, reference, batch, beta=beta)
        text, metrics = dpo(policy, reference, batch, beta=beta)
        segments, _ = dense_dpo(policy, reference, batch, beta=beta, gamma=segment_weight, normalize=normalize)
        total = image.total + response_weight * text.total + lam * segments.total
        total = total + gam * Mean.of(beta * tokens, batch.weight).total
        return Mean(total, text.count), metrics | extra | {"rewards/corrupted": image_metrics["rewards/rejected"]}
    if form != "code":
        raise ValueError(f'form is "paper" or "code", not {form!r}')

    def reward(policy: Scores, reference: Scores, side: int) -> jax.Array:  # -> f32[B]
        return beta * log_ratio(policy, reference, 1 + (segment_weight - 1) * batch.changed[:, side])

    chosen, rejected = reward(policy.chosen, reference.chosen, 0), reward(policy.rejected, reference.rejected, 1)
    corrupted = reward(policy.chosen_corrupted, reference.chosen_corrupted, 0)
    losses = -log_sigmoid(chosen - rejected + chosen - corrupted + beta * gam * tokens)
    metrics = preference_metrics(policy, chosen, rejected, batch.weight)
    return Mean.of(losses, batch.weight), metrics | extra | {"rewards/corrupted": Mean.of(corrupted, batch.weight)}
