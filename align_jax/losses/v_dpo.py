"""V-DPO: DPO of an image-guided policy. Xie et al. 2024, https://arxiv.org/abs/2411.02712."""

import dataclasses
from collections.abc import Sequence

from jax.lax import stop_gradient
from jax.nn import log_sigmoid

from align_jax.losses.base import loss
from align_jax.losses.dpo import log_ratio, preference_metrics
from align_jax.losses.image_dpo import image_dpo
from align_jax.losses.mdpo import ImagePair, ImagePairBatch
from align_jax.types import Example, Mean, Metrics, PackTree, PreferenceBatch, Scores, pytree


@pytree
class CorruptedPairBatch(ImagePairBatch):
    """Pairs, and both completions once more behind a corrupted image: `corrupted` has K = 2."""

    @classmethod
    def pack(cls, examples: Sequence[Example], pack_tree: PackTree) -> "CorruptedPairBatch":
        pair = PreferenceBatch.pack(examples, pack_tree)
        return cls(pair.tree, pair.weight, pack_tree(examples, ("chosen", "rejected"), view="corrupted"))

    def group(self, scores: tuple[Scores, ...]) -> "CorruptedPair":
        return CorruptedPair(*(each.completion(k) for each in scores for k in range(2)))


@pytree
class CorruptedPair(ImagePair):
    """A pair given the right image, and the same pair given the corrupted one."""

    rejected_corrupted: Scores


@loss(batch=CorruptedPairBatch)
def v_dpo(
    policy: CorruptedPair,
    reference: CorruptedPair,
    batch: CorruptedPairBatch,
    *,
    beta: float = 0.1,
    gamma: float = 1.0,
    language_bias: float = 0.0,
) -> tuple[Mean, Metrics]:
    """DPO with (1 + gamma) log pi(y|x, image) - gamma sg(log pi(y|x, blank image)) in place of the policy's.

    The reference is not guided. View "corrupted" is a blank image. Not implemented of the authors' code: guidance of
    logits, normalised again (`--use_logits`); the mean over several noise images; a blank branch of the reference
    (ours is the policy's, their `--dynamic_llm`); label smoothing by confidence.

    Args:
      policy: scores f32[B, R] behind the right and behind the blank image.
      reference: the same under the reference model.
      batch: weights rows.
      beta: as in DPO.
      gamma: strength of the guidance, the paper's gamma; the code's is 1 + gamma. The default is ours, the paper's
        value being unverified.
      language_bias: weight of an image pair, the chosen completion behind the right and the blank image
        (`--language_bias_reduce`), which is not guided.

    Raises:
      ValueError: gamma is not above 0.
    """
    if not gamma > 0:
        raise ValueError(
            f"gamma is {gamma}, and must be above 0: at 0 this is DPO, a blank image scored in vain. The authors' "
            "script passes --gamma 0.0, but as our 1 + gamma: that scores the pair by constants and has no gradient"
        )

    def guided(right: Scores, blank: Scores) -> Scores:
        return dataclasses.replace(right, logps=(1 + gamma) * right.logps - gamma * stop_gradient(blank.logps))

    chosen = beta * log_ratio(guided(policy.chosen, policy.chosen_corrupted), reference.chosen)
    rejected = beta * log_ratio(guided(policy.rejected, policy.rejected_corrupted), reference.rejected)
    pair = Mean.of(-log_sigmoid(chosen - rejected), batch.weight)
    image, _ = image_dpo(policy, reference, batch, beta=beta)
    metrics = preference_metrics(policy, chosen, rejected, batch.weight)
    return Mean(pair.total + language_bias * image.total, pair.count), metrics
