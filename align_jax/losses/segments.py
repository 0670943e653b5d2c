"""Labelled parts of completions: tokens carry the number of their part, and sums are taken part by part."""

from collections.abc import Sequence

import jax
import numpy as np

from align_jax.types import Span


def number_tokens(spans: Sequence[Span], length: int) -> np.ndarray:
    """i32[length]: the number of the span that each token is in, counted from 1; 0 outside of all.

    Of two spans that share a token, as neighbours do where a token crosses their border, the later one has it.
    """
    numbers = np.zeros(length, np.int32)
    for number, span in enumerate(spans, 1):
        numbers[span.start : span.end] = number
    return numbers


def sum_by_number(values: jax.Array, numbers: jax.Array) -> jax.Array:
    """f32[B, R]: entry s is the sum of `values` f32[B, R] where `numbers` i32[B, R] is s + 1.

    R tokens make R parts at most, so that no bound on their number is needed.
    """
    length = values.shape[-1]
    sums = jax.vmap(lambda x, n: jax.ops.segment_sum(x, n, num_segments=length + 1))(values, numbers)
    return sums[:, 1:]
