"""AdPO: against adversarial images. Liu et al. 2025, https://arxiv.org/abs/2504.01735."""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax.nn import log_sigmoid

from align_jax.losses.base import loss
from align_jax.losses.dpo import log_ratio, preference_metrics
from align_jax.types import (
    Example,
    Mean,
    Metrics,
    PackTree,
    Patches,
    PreferenceBatch,
    PromptTree,
    Scores,
    Tiles,
    pytree,
    row_weight,
)


@pytree
class AdversarialBatch(PreferenceBatch):
    """The chosen completion behind the clean image; both completions behind what `attack` makes of it."""

    adversarial: PromptTree  # K = 2: rejected, chosen; and `tree` has K = 1: chosen

    @classmethod
    def pack(cls, examples: Sequence[Example], pack_tree: PackTree) -> "AdversarialBatch":
        weight = row_weight(examples, pack_tree.batch_size)
        return cls(pack_tree(examples, ("chosen",)), weight, pack_tree(examples, ("rejected", "chosen")))

    def trees(self) -> tuple[PromptTree, ...]:
        return (self.tree, self.adversarial)

    def group(self, scores: tuple[Scores, ...]) -> "AdversarialPair":
        clean, adversarial = scores
        return AdversarialPair(clean.completion(0), adversarial.completion(0), adversarial.completion(1))


@pytree
class AdversarialPair:
    """The chosen completion given the clean image, and both completions given the adversarial one."""

    chosen: Scores
    rejected: Scores
    chosen_adversarial: Scores


def attack(
    batch: AdversarialBatch,
    policy: Callable[[PromptTree], Scores],
    reference: Callable[[PromptTree], Scores],
    *,
    radius: float,
    step_size: float,
    steps: int,
) -> tuple[AdversarialBatch, AdversarialBatch]:
    """Projected gradient ascent of the policy's NLL of the chosen answer, on the pixels, from the clean image.

    Steps go by the sign of the gradient and stay within `radius` of the clean image in every pixel (Madry et al. 2017,
    https://arxiv.org/abs/1706.06083). Whether a pixel still is a colour is not checked. Tiles and patches of zeros are
    padding and stay as they are.

    Args:
      batch: as packed.
      policy: scores a tree.
      reference: not attacked: it is to see the same image as the policy.
      radius: in units of the pixels that the model takes, which are normalised.
      step_size: in the same units.
      steps: number of steps.

    Returns:
      The batch with the adversarial image, once for the policy and once for the reference.

    Raises:
      ValueError: there are no pictures.
    """
    media = batch.adversarial.media
    if not isinstance(media, Tiles | Patches):
        raise ValueError(f"adpo attacks pictures, and the media of this batch are {type(media).__name__}")
    clean = media.pixels
    used = jnp.any(clean != 0, axis=tuple(range(2, clean.ndim)), keepdims=True)

    def behind(pixels: jax.Array, tree: PromptTree) -> PromptTree:
        return dataclasses.replace(tree, media=dataclasses.replace(media, pixels=pixels))

    def nll(pixels: jax.Array) -> jax.Array:
        return -policy(behind(pixels, batch.tree)).logps.sum()

    def ascend(_: int, pixels: jax.Array) -> jax.Array:
        moved = pixels + step_size * used * jnp.sign(jax.grad(nll)(pixels))
        return jnp.clip(moved, clean - radius, clean + radius)

    pixels = jax.lax.stop_gradient(jax.lax.fori_loop(0, steps, ascend, clean))
    attacked = dataclasses.replace(batch, adversarial=behind(pixels, batch.adversarial))
    return attacked, attacked


@loss(batch=AdversarialBatch, prepare=attack)
def adpo(
    policy: AdversarialPair,
    reference: AdversarialPair,
    batch: AdversarialBatch,
    *,
    beta: float = 0.1,
    lam: float = 1.0,
    radius: float = 0.06,
    step_size: float = 0.015,
    steps: int = 10,
) -> tuple[Mean, Metrics]:
    """DPO of the chosen answer to the clean against the rejected one to the adversarial image, + lam * NLL.

    NLL is that of the chosen answer to the adversarial image, averaged over its tokens. The rejected answer is the
    record's; the paper generates it on the adversarial image. The paper trains the vision tower alone: `frozen` of the
    config. Its objective is known here from a survey, which prints the second log-ratio with a plus (taken as a slip),
    and from a reader's notes, by which the attack moves the tower's features away from those of the clean image, where
    this one raises the NLL, and the NLL's tokens are weighted by the model's confidence, which they are not here.

    Args:
      policy: scores f32[B, R].
      reference: the same under the reference model, behind the same adversarial image.
      batch: weights rows.
      beta: as in DPO.
      lam: weight of the NLL.
      radius: of the attack, in normalised pixels: by default about 4/255 of CLIP's; the notes have half of it, see
        configs/adpo.py.
      step_size: of the attack; by default about 1/255.
      steps: of the attack.
    """
    chosen = beta * log_ratio(policy.chosen, reference.chosen)
    rejected = beta * log_ratio(policy.rejected, reference.rejected)
    losses = -log_sigmoid(chosen - rejected) - lam * policy.chosen_adversarial.mean
    metrics = preference_metrics(policy, chosen, rejected, batch.weight)
    metrics = metrics | {"logps/chosen_adversarial": Mean.of(policy.chosen_adversarial.total, batch.weight)}
    return Mean.of(losses, batch.weight), metrics
