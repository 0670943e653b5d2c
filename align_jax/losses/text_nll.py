"""Negative log-likelihood of plain texts beside preference pairs: the auxiliary language modelling of HA-DPO for
MiniGPT-4, Zhao et al. 2023, https://arxiv.org/abs/2311.16839, with a weight of 0.5."""

import dataclasses

from align_jax.losses.base import loss
from align_jax.losses.chosen_nll import chosen_nll
from align_jax.losses.texts import PairsAndTextsBatch
from align_jax.types import Mean, Metrics, Pair, Scores


@loss(batch=PairsAndTextsBatch, needs_reference=False)
def text_nll(
    policy: Pair[Scores], reference: None, batch: PairsAndTextsBatch, *, reduction: str = "token"
) -> tuple[Mean, Metrics]:
    """NLL of the texts of a stream of pairs and texts; the pairs do not count.

    Args:
      policy: scores f32[B, R]; of a text, `chosen` holds those.
      reference: not read.
      batch: tells texts from pairs.
      reduction: as in `chosen_nll`: "token", as the released code, averages over all tokens of the texts; "sequence"
        sums over each text and averages over texts.

    Raises:
      ValueError: another reduction.
    """
    return chosen_nll(policy, None, dataclasses.replace(batch, weight=batch.text_weight), reduction=reduction)
