"""Confidence intervals by the percentile bootstrap over items (Efron, 1979).

An item is what was drawn independently, an image or a prompt, never one of several mentions or questions about it.
Metrics are ratios of sums, such as CHAIR_i = sum of hallucinated / sum of mentioned; numerator and denominator of an
item are resampled together. The interval is of the choice of items alone: it holds the model fixed, and says nothing
of seeds.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

Pairs = Sequence[tuple[ArrayLike, ArrayLike]]  # numerators and denominators of several ratios


class Interval(NamedTuple):
    value: float
    low: float
    high: float


def ratio(
    numerator: ArrayLike,
    denominator: ArrayLike | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """The ratio of two sums over items, 0 where the denominator is 0.

    Args:
      numerator: [n], one number per item.
      denominator: [n]; ones if not given, which makes the ratio a mean.
      confidence: of the two-sided interval.
      resamples: bootstrap samples.
      seed: the same seed gives the same interval.

    Raises:
      ValueError: fewer than two items, or arrays that are not of the same length.
    """
    return _bootstrap(_ratio, [numerator, denominator], confidence, resamples, seed)


def difference(
    numerator: ArrayLike,
    other_numerator: ArrayLike,
    denominator: ArrayLike | None = None,
    other_denominator: ArrayLike | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """`ratio(numerator, denominator) - ratio(other_numerator, other_denominator)` of two models on the same items.

    The comparison is paired: item i of all arrays is the same image or prompt, and is drawn for both models together,
    so that what makes an item hard for both cancels. Arguments and errors are as for `ratio`.
    """

    def gap(a, b, c, d, axis=-1):
        return _ratio(a, b, axis) - _ratio(c, d, axis)

    arrays = [numerator, denominator, other_numerator, other_denominator]
    return _bootstrap(gap, arrays, confidence, resamples, seed)


def mean_ratio(pairs: Pairs, *, confidence: float = 0.95, resamples: int = 2000, seed: int = 0) -> Interval:
    """The mean of several ratios over the same items, such as an F1 averaged over POPE's three splits.

    Args:
      pairs: numerators [n] and denominators [n] of each ratio.
      confidence: of the two-sided interval.
      resamples: bootstrap samples.
      seed: the same seed gives the same interval.
    """
    return _bootstrap(_mean_ratio, [array for pair in pairs for array in pair], confidence, resamples, seed)


def mean_difference(
    pairs: Pairs, other: Pairs, *, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """`mean_ratio(pairs) - mean_ratio(other)` of two models on the same items, paired as in `difference`."""

    def gap(*arrays, axis=-1):
        half = len(arrays) // 2
        return _mean_ratio(*arrays[:half], axis=axis) - _mean_ratio(*arrays[half:], axis=axis)

    arrays = [array for pair in (*pairs, *other) for array in pair]
    return _bootstrap(gap, arrays, confidence, resamples, seed)


def _mean_ratio(*arrays: np.ndarray, axis: int = -1) -> np.ndarray:
    return np.mean([_ratio(a, b, axis) for a, b in zip(arrays[::2], arrays[1::2], strict=True)], axis=0)


def _ratio(numerator: np.ndarray, denominator: np.ndarray, axis: int = -1) -> np.ndarray:
    top, bottom = numerator.sum(axis=axis), denominator.sum(axis=axis)
    return np.divide(top, bottom, out=np.zeros_like(top), where=bottom != 0)


def _bootstrap(statistic, arrays, confidence, resamples, seed) -> Interval:
    items = len(np.asarray(arrays[0]))
    filled = [np.ones(items) if a is None else np.asarray(a, float) for a in arrays]
    if items < 2 or any(a.shape != (items,) for a in filled):
        raise ValueError(f"needs arrays of one length, at least 2: got shapes {[a.shape for a in filled]}")
    done = stats.bootstrap(
        filled,
        statistic,
        paired=True,
        vectorized=True,
        method="percentile",
        confidence_level=confidence,
        n_resamples=resamples,
        batch=max(1, 2**20 // items),  # bounds memory to a few 8 MiB arrays
        rng=np.random.default_rng(seed),
    )
    low, high = done.confidence_interval
    return Interval(float(statistic(*filled)), float(low), float(high))
