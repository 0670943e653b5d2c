"""FDPO: each labelled segment of an answer is preferred or not. M-HalDetect, Gunjal et al. 2023,
https://arxiv.org/abs/2308.06394."""

from collections.abc import Sequence
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.nn import log_sigmoid

from align_jax.losses.base import loss
from align_jax.losses.segments import number_tokens, sum_by_number
from align_jax.types import CompletionBatch, Example, Mean, Metrics, PackTree, Reads, Scores, pytree

UNSURE, ACCURATE, INACCURATE, ANALYSIS = range(4)
LABELS = {"accurate": ACCURATE, "inaccurate": INACCURATE, "analysis": ANALYSIS, "unsure": UNSURE}


def wrong_segments(example: Example) -> str:
    spans = example.spans["chosen"]
    if len(spans) > len(example.completions["chosen"]):
        return f"'spans' mark {len(spans)} segments in an answer of fewer tokens: leave out those that overlap"
    unknown = sorted({str(span.label) for span in spans if str(span.label).lower() not in LABELS})
    return f"a segment is labelled {unknown[0]!r}: write one of {', '.join(LABELS)}" if unknown else ""


@pytree
class SegmentBatch(CompletionBatch):
    """Answers (`completions["chosen"]`) cut into segments (`spans["chosen"]`), each of them judged."""

    reads: ClassVar = Reads(completions=("chosen",), spans=("chosen",), check=wrong_segments)
    segments: jax.Array  # i32[B, R] number of the segment that a token is in, from 1; 0 in none
    labels: jax.Array  # i32[B, R] of segment s + 1, a value of LABELS; UNSURE past the last one

    @classmethod
    def pack(cls, examples: Sequence[Example], pack_tree: PackTree) -> "SegmentBatch":
        segments = np.zeros((pack_tree.batch_size, pack_tree.completion_length), np.int32)
        labels = np.full_like(segments, UNSURE)
        for example, row, kinds in zip(examples, segments, labels, strict=False):
            row[:] = number_tokens(example.spans["chosen"], len(row))
            for number in set(row.tolist()) - {0}:  # a segment without tokens has nothing to learn from
                kinds[number - 1] = LABELS[str(example.spans["chosen"][number - 1].label).lower()]
        answers = CompletionBatch.pack(examples, pack_tree)
        return cls(answers.tree, answers.weight, segments, labels)


@loss(batch=SegmentBatch)
def fdpo(
    policy: Scores, reference: Scores, batch: SegmentBatch, *, beta: float = 0.5, analysis_is_inaccurate: bool = False
) -> tuple[Mean, Metrics]:
    """-log sigmoid(beta * k), averaged over the segments of the batch that are labelled accurate or inaccurate.

    k is the log-ratio to the reference over the segment's own tokens, what stands before it being given; its sign is
    turned for inaccurate segments. Segments that are unsure or an analysis are skipped. There is no pair.

    Args:
      policy: scores f32[B, R] of the answer.
      reference: the same under the reference model.
      batch: segments and their labels; weights rows.
      beta: as in DPO. The authors published no code; .5 is from memory and unverified.
      analysis_is_inaccurate: count analysis as inaccurate: the paper tried it, to its harm.
    """
    rewards = beta * sum_by_number(policy.logps - reference.logps, batch.segments)
    good = batch.labels == ACCURATE
    bad = (batch.labels == INACCURATE) | (analysis_is_inaccurate & (batch.labels == ANALYSIS))
    good, bad = (kind * batch.weight[:, None] for kind in (good, bad))
    margins = jnp.where(bad > 0, -rewards, rewards)
    return Mean.of(-log_sigmoid(margins), good + bad), {
        "rewards/chosen": Mean.of(rewards, good),
        "rewards/rejected": Mean.of(rewards, bad),
        "rewards/accuracies": Mean.of((margins > 0).astype(rewards.dtype), good + bad),
    }
