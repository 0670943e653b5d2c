"""Dense DPO (DDPO): corrected segments weigh more. RLHF-V, Yu et al. 2023, https://arxiv.org/abs/2312.00849, eq. 4."""

from collections.abc import Sequence
from difflib import SequenceMatcher

import jax
import numpy as np
from jax.nn import log_sigmoid

from align_jax.losses.base import loss
from align_jax.losses.dpo import log_ratio, preference_metrics
from align_jax.types import Example, Mean, Metrics, PackTree, Pair, PreferenceBatch, Scores, pytree, row_weight


@pytree
class DensePreferenceBatch(PreferenceBatch):
    """Pairs whose tokens are marked where one completion was corrected into the other."""

    changed: jax.Array  # f32[B, 2, R] 1 on changed tokens of chosen, rejected

    @classmethod
    def pack(cls, examples: Sequence[Example], pack_tree: PackTree) -> "DensePreferenceBatch":
        changed = np.zeros((pack_tree.batch_size, 2, pack_tree.completion_length), np.float32)
        for row, example in zip(changed, examples, strict=False):
            chosen, rejected = example.completions["chosen"], example.completions["rejected"]
            for marks, found in zip(row, changed_tokens(example.prompt.ids, chosen, rejected), strict=True):
                marks[: len(found)] = found[: len(marks)]
        tree = pack_tree(examples, ("chosen", "rejected"))
        return cls(tree, row_weight(examples, pack_tree.batch_size), changed)


def changed_tokens(
    prompt: np.ndarray, chosen: np.ndarray, rejected: np.ndarray, min_match: int = 3
) -> tuple[np.ndarray, np.ndarray]:
    """Marks tokens that differ, by the rule of the authors' code (RLHF-V/RLAIF-V, utils/diff_lib.py).

    Runs of at least `min_match` equal tokens, found with the prompt in front of both, count as unchanged; what lies
    between two of them is changed where neither side of it is empty. A pure insertion or deletion is therefore not
    marked. Unlike the authors' code, frequent tokens are never dropped from the comparison (difflib's `autojunk`):
    that would start at 200 tokens and depend on the number of image placeholders.

    Args:
      prompt: i32[p].
      chosen: i32[c].
      rejected: i32[r].
      min_match: length of the shortest run that counts as equal.

    Returns:
      bool[c] and bool[r].
    """
    sides = [np.concatenate([prompt, rejected]).tolist(), np.concatenate([prompt, chosen]).tolist()]
    marks = [np.zeros(len(side), bool) for side in sides]
    blocks = SequenceMatcher(None, *sides, autojunk=False).get_matching_blocks()
    ends = (0, 0)
    for *starts, size in blocks:
        if 0 < size < min_match:  # too short to count; the last block has size 0 and marks the end
            continue
        if all(start > end for start, end in zip(starts, ends, strict=True)):
            for mark, start, end in zip(marks, starts, ends, strict=True):
                mark[end:start] = True
        ends = tuple(start + size for start in starts)
    return marks[1][len(prompt) :], marks[0][len(prompt) :]


@loss(batch=DensePreferenceBatch)
def dense_dpo(
    policy: Pair[Scores],
    reference: Pair[Scores],
    batch: DensePreferenceBatch,
    *,
    beta: float = 0.5,
    gamma: float = 5.0,
    normalize: bool = True,
) -> tuple[Mean, Metrics]:
    """DPO over weighted log-probabilities: gamma on changed tokens, 1 elsewhere, in policy and reference alike.

    Args:
      policy: scores f32[B, R] of both completions.
      reference: the same under the reference model.
      batch: weights rows and marks changed tokens.
      beta: as in DPO; 0.5 in the paper.
      gamma: weight of changed tokens; 5 in the paper.
      normalize: divide by the sum of the weights, as the paper does. The released script does not, and uses beta 0.1
        and gamma 1.1: the two settings are not comparable, since the divisor makes beta 60 to 100 times weaker.
    """

    def reward(policy: Scores, reference: Scores, changed: jax.Array) -> jax.Array:  # -> f32[B]
        weights = policy.mask * (1 + (gamma - 1) * changed)
        total = beta * log_ratio(policy, reference, weights)
        return total / jax.numpy.maximum(weights.sum(-1), 1.0) if normalize else total

    chosen = reward(policy.chosen, reference.chosen, batch.changed[:, 0])
    rejected = reward(policy.rejected, reference.rejected, batch.changed[:, 1])
    metrics = preference_metrics(policy, chosen, rejected, batch.weight)
    return Mean.of(-log_sigmoid(chosen - rejected), batch.weight), metrics
