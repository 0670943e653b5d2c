"""Whether one method is better than another: their difference on the same pictures, and on every seed."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Literal

import numpy as np

from align_jax.evals import intervals


@dataclasses.dataclass(frozen=True)
class Difference:
    """One method less another, on the same pictures; what `compare` returns."""

    value: float
    low: float
    high: float
    seeds: dict[int, float]
    verdict: Literal["better", "worse", "no clear difference"]


def compare(
    ratios: Mapping[int, intervals.Pairs], other: Mapping[int, intervals.Pairs], better: Literal["lower", "higher"]
) -> Difference:
    """Whether one method is better than another: so says the interval of their difference, and so does every seed.

    Args:
      ratios: seed -> pairs of one method; their ratios are averaged.
      other: of the other method, on the same pictures.
      better: the good direction.

    Raises:
      ValueError: seeds or numbers of pictures differ.
    """
    shapes = [{seed: [np.shape(pair) for pair in pairs] for seed, pairs in sorted(x.items())} for x in (ratios, other)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"not the same seeds and pictures: {shapes[0]} and {shapes[1]}")
    seeds = {seed: mean_of_ratios(ratios[seed]) - mean_of_ratios(other[seed]) for seed in ratios}
    gap = intervals.mean_difference(pooled(ratios), pooled(other))
    good = -1 if better == "lower" else 1
    signs = {np.sign(good * x) for x in (gap.low, gap.high, *seeds.values())}
    verdict = {1: "better", -1: "worse"}.get(signs.pop(), "") if len(signs) == 1 else ""
    return Difference(*gap, seeds, verdict or "no clear difference")


def mean_of_ratios(pairs: intervals.Pairs) -> float:
    """The mean of some ratios of sums, nan where one is of nothing."""
    return float(np.mean([np.sum(top) / np.sum(bottom) if np.sum(bottom) else math.nan for top, bottom in pairs]))


def defined(ratios: Mapping[int, intervals.Pairs | None]) -> bool:
    """Whether every seed has ratios, none of them of nothing."""
    return all(pairs and math.isfinite(mean_of_ratios(pairs)) for pairs in ratios.values())


def pooled(ratios: Mapping[int, intervals.Pairs]) -> list[tuple[np.ndarray, np.ndarray]]:
    """All seeds' pairs. A seed with fewer pictures is filled up with empty ones, which add 0 to both sums."""
    pairs = [tuple(np.asarray(x, float) for x in pair) for _, pairs in sorted(ratios.items()) for pair in pairs]
    longest = max(len(top) for top, _ in pairs)
    return [tuple(np.pad(x, (0, longest - len(x))) for x in pair) for pair in pairs]
