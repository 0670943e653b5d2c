"""rDPO: DPO and a pair of images, one of them retrieved. Re-Align, Xing et al. 2025, https://arxiv.org/abs/2502.13146."""

import dataclasses

from align_jax.losses.base import loss
from align_jax.losses.dpo import dpo
from align_jax.losses.image_dpo import image_dpo
from align_jax.losses.mdpo import ImagePair, ImagePairBatch
from align_jax.types import Mean, Metrics, Scores


@loss(batch=ImagePairBatch, statistics=("rival",))
def rdpo(
    policy: ImagePair, reference: ImagePair, batch: ImagePairBatch, *, beta: float = 0.1, form: str = "paper"
) -> tuple[Mean, Metrics]:
    """Sum of DPO and of the same with the chosen text behind the right and a retrieved similar image.

    Both terms weigh 1. The retrieved image is the record's own view "corrupted"; the rejected answer is the chosen one
    with segments masked and filled in again while looking at it.

    Args:
      policy: scores f32[B, R].
      reference: the same under the reference model.
      batch: weights rows.
      beta: as in DPO, for both terms.
      form: "paper", or "code", which never scores what is rejected: the authors' trainer takes, at each position of
        the rejected answer, and of the chosen one behind the retrieved image, the likeliest token that is not the
        label. Policy and reference each take their own, so that their ratio compares different tokens.

    Raises:
      ValueError: another form.
    """
    if form == "code":
        policy, reference = _against_rivals(policy), _against_rivals(reference)
    elif form != "paper":
        raise ValueError(f'form is "paper" or "code", not {form!r}')
    text, metrics = dpo(policy, reference, batch, beta=beta)
    image, image_metrics = image_dpo(policy, reference, batch, beta=beta)
    metrics = metrics | {"rewards/corrupted": image_metrics["rewards/rejected"]}
    return Mean(text.total + image.total, text.count), metrics


def _against_rivals(pair: ImagePair) -> ImagePair:
    def rivals(scores: Scores) -> Scores:
        return dataclasses.replace(scores, logps=scores.rival)

    return ImagePair(pair.chosen, rivals(pair.rejected), rivals(pair.chosen_corrupted))
