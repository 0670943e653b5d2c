"""OPA-DPO, stage 2: revised answers and masked images. Yang et al. 2025, https://arxiv.org/abs/2501.09695."""

from collections.abc import Callable, Sequence
from typing import ClassVar

import jax
import numpy as np
from jax.nn import log_sigmoid

from align_jax.losses.base import loss
from align_jax.losses.dpo import log_ratio, preference_metrics
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

IMAGE_ERROR = "image_recognition_error"  # as the published data call it


def wrong_labels(example: Example) -> str:
    for name in ("rejected", "revised"):
        for span in example.spans.get(name, ()):
            if isinstance(span.label, str) and (span.label, name) != (IMAGE_ERROR, "revised"):
                return (
                    f"a span of {name!r} is labelled {span.label!r}: write a weight, or on 'revised' {IMAGE_ERROR!r}"
                )
    return ""


@pytree
class RevisedBatch(PreferenceBatch):
    """A true (chosen), a generated (rejected) and a revised answer; true and revised also behind a masked image.

    A span with a number as label weighs the tokens of the revised or of the rejected answer; one that is labelled
    `IMAGE_ERROR` marks where the revised answer mends what was misread in the image.
    """

    reads: ClassVar = Reads(completions=("chosen", "rejected", "revised"), views=("corrupted",), check=wrong_labels)
    masked: PromptTree  # K = 2: chosen, revised; and `tree` has K = 3: chosen, rejected, revised
    weights: jax.Array  # f32[B, 2, R] of rejected, revised; 1 where no span says otherwise
    misread: jax.Array  # f32[B, R] 1 on marked tokens of revised

    @classmethod
    def pack(cls, examples: Sequence[Example], pack_tree: PackTree) -> "RevisedBatch":
        weights = np.ones((pack_tree.batch_size, 2, pack_tree.completion_length), np.float32)
        misread = np.zeros_like(weights[:, 0])
        for row, example in enumerate(examples):
            for side, name in enumerate(("rejected", "revised")):
                for start, end, label in example.spans.get(name, ()):
                    if not isinstance(label, str):
                        weights[row, side, start:end] = label
                    elif label == IMAGE_ERROR and name == "revised":
                        misread[row, start:end] = 1.0
        tree = pack_tree(examples, ("chosen", "rejected", "revised"))
        masked = pack_tree(examples, ("chosen", "revised"), view="corrupted")
        return cls(tree, row_weight(examples, pack_tree.batch_size), masked, weights, misread)

    def trees(self) -> tuple[PromptTree, ...]:
        return (self.tree, self.masked)

    def group(self, scores: tuple[Scores, ...]) -> "RevisedTriple":
        tree, masked = scores
        return RevisedTriple(*(tree.completion(k) for k in range(3)), *(masked.completion(k) for k in range(2)))


@pytree
class RevisedTriple:
    """Three answers given the image, and two of them given the masked image."""

    chosen: Scores
    rejected: Scores
    revised: Scores
    chosen_masked: Scores
    revised_masked: Scores


@loss(batch=RevisedBatch)
def opa_dpo(
    policy: RevisedTriple,
    reference: RevisedTriple,
    batch: RevisedBatch,
    *,
    beta: float = 0.1,
    image_weight: float = 0.2,
    image_error_weight: float = 3.0,
    anchor: float = 0.0,
    anchor_weight: float = 1.0,
    form: str = "sequence",
) -> tuple[Mean, Metrics]:
    """True and revised answers against the generated one, and against themselves behind a masked image; anchors.

    Four pairs, of which those of the revised answer weigh log-ratios token by token: by the record's spans against the
    generated answer (released: 1, 1.5, 2, 2.5 for a score of 4, 3, 2, 1), by `image_error_weight` on marked tokens
    against the masked image. Those of the true answer weigh every token 1. Policy and reference see the same masked
    image (released: 30 % at random).

    Args:
      policy: scores f32[B, R].
      reference: the same under the reference model.
      batch: weights rows and tokens.
      beta: as in DPO, for all terms.
      image_weight: of the two pairs with a masked image.
      image_error_weight: of tokens that mend what was misread in the image.
      anchor: reward that true and revised answers should exceed.
      anchor_weight: of the anchors.
      form: "sequence" sums the weighted log-ratios over each answer and takes one sigmoid for a pair, and anchors true
        and revised answers once each, as mDPO does; the paper's formula could not be read, so this is unverified.
        "code" is what is released: positions are never summed, so that token t of one answer meets token t of the
        other, every position including padding (log 2) counts in a mean over `completion_length`; the anchor counts
        twice, and that of the revised answer has the other sign, which lowers its reward. The end of the generated
        answer weighs 0 there, and 1 here unless a span says so.

    Raises:
      ValueError: another form.
    """
    if form not in ("sequence", "code"):
        raise ValueError(f'form is "sequence" or "code", not {form!r}')
    misread = 1 + (image_error_weight - 1) * batch.misread
    ratio = {name: vars(policy)[name].logps - vars(reference)[name].logps for name in vars(policy)}  # f32[B, R]
    pairs = (
        (1.0, ratio["chosen"], ratio["rejected"]),
        (1.0, batch.weights[:, 1] * ratio["revised"], batch.weights[:, 0] * ratio["rejected"]),
        (image_weight, ratio["chosen"], ratio["chosen_masked"]),
        (image_weight, misread * ratio["revised"], misread * ratio["revised_masked"]),
    )
    code = form == "code"
    margins: Callable[[jax.Array], jax.Array] = (lambda x: x) if code else (lambda x: x.sum(-1))
    losses = sum(weight * -log_sigmoid(beta * margins(better - worse)) for weight, better, worse in pairs)
    rewards = beta * margins(ratio["chosen"]), beta * margins(ratio["revised"])
    if code:
        anchors = -2 * log_sigmoid(rewards[0] - anchor) - 2 * log_sigmoid(anchor - rewards[1])
    else:
        anchors = -log_sigmoid(rewards[0] - anchor) - log_sigmoid(rewards[1] - anchor)
    losses = losses + anchor_weight * anchors
    losses = losses.mean(-1) if code else losses
    chosen, rejected, revised = (
        beta * log_ratio(getattr(policy, name), getattr(reference, name)) for name in ("chosen", "rejected", "revised")
    )
    metrics = preference_metrics(policy, chosen, rejected, batch.weight)
    return Mean.of(losses, batch.weight), metrics | {"rewards/revised": Mean.of(revised, batch.weight)}
