"""Methods side by side: means over seeds, intervals over pictures, and which of them beat a baseline.

`build` makes a `Board` of measurements. How it is shown: leaderboard_text.py and leaderboard_page.py.
"""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from align_jax.evals import intervals, paired
from align_jax.evals.leaderboard_metrics import COLUMNS, METRICS, RANKED_BY
from align_jax.evals.paired import Difference

BEFORE = "SFT (before)"
VERDICTS = ("better", "no clear difference", "worse", "not compared", "failed")


@dataclasses.dataclass(frozen=True)
class Value:
    """A metric of a method: mean over seeds, 95 % interval (None if not of pictures), and each seed's.

    None stands for what is undefined, such as the hallucinated share of no mentions.
    """

    mean: float | None
    low: float | None
    high: float | None
    deviation: float | None  # over seeds; None of one seed
    seeds: dict[int, float | None]


@dataclasses.dataclass(frozen=True)
class Point:
    """A point of the tuning grid: `f1` is None where the run failed. `scale` multiplies the strength in the config."""

    learning_rate: float
    scale: float
    f1: float | None
    failed: str | None = None
    chosen: bool = False


@dataclasses.dataclass(frozen=True)
class Entry:
    """A method: `failed` has a reason for each seed that failed, and `values` are of the other seeds.

    `verdict` is on CHAIR_i: one of `VERDICTS`, "baseline", or "" without a baseline.
    """

    name: str
    values: dict[str, Value]
    differences: dict[str, Difference]
    failed: dict[int, str]
    verdict: str
    loss: str = ""
    tuning: list[Point] = dataclasses.field(default_factory=list)

    @property
    def chosen(self) -> Point | None:
        return next((point for point in self.tuning if point.chosen), None)

    @property
    def costs(self) -> list[str]:
        """Names of the other metrics that are clearly worse than the baseline's."""
        others = {key: gap for key, gap in self.differences.items() if key in COLUMNS and key != RANKED_BY}
        return [COLUMNS[key].name for key, gap in others.items() if gap.verdict == "worse"]

    @property
    def trouble(self) -> str:
        """What failed, in words."""
        reasons = {why: [s for s, w in self.failed.items() if w == why] for why in self.failed.values()}
        return "; ".join(f"failed on seed {', '.join(map(str, seeds))}: {why}" for why, seeds in reasons.items())


@dataclasses.dataclass(frozen=True)
class Board:
    """All methods: the SFT model first, then by CHAIR_i, then what failed on some seeds, then on all."""

    entries: list[Entry]
    seeds: list[int]
    grid: dict[str, Sequence[float]]
    baseline: str | None
    facts: dict[str, str]
    notes: list[str]

    @property
    def methods(self) -> list[Entry]:
        return self.entries[1:]

    def verdicts(self) -> dict[str, list[str]]:
        """Names of the methods, without the baseline, by verdict."""
        found = {v: [e.name for e in self.methods if e.verdict == v] for v in VERDICTS}
        return {verdict: names for verdict, names in found.items() if names}

    def tuned(self, entry: Entry) -> bool:
        """Whether the strength of a method was tuned; a method may have none."""
        return {point.scale for point in entry.tuning} == set(self.grid["strength"])

    def at_edge(self, entry: Entry) -> bool:
        """Whether a method's chosen point has no neighbour in some direction of the grid."""
        axes = [(entry.chosen.learning_rate, self.grid["learning_rate"])] if entry.chosen else []
        axes += [(entry.chosen.scale, self.grid["strength"])] if entry.chosen and self.tuned(entry) else []
        return any(len(axis) > 1 and x in (min(axis), max(axis)) for x, axis in axes)

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Board":
        raw = json.loads(text)
        return cls(**raw | {"entries": [_entry_of(entry) for entry in raw["entries"]]})


def build(
    before: Mapping[int, Mapping[str, intervals.Pairs]],
    results: Mapping[str, Mapping[int, Mapping[str, Any]]],
    *,
    tuning: Mapping[str, Sequence[Point]],
    losses: Mapping[str, str],
    grid: Mapping[str, Sequence[float]],
    baseline: str = "dpo",
    facts: Mapping[str, str] = {},
    notes: Sequence[str] = (),
) -> Board:
    """Compares methods that were measured on the same pictures of the same seeds.

    Args:
      before: seed -> metric -> pairs, of the model that all methods start from.
      results: method -> seed -> {"ratios": as `before`'s, "drift": {"kl", "chosen", "rejected"}, "seconds"}, or
        {"failed": why}.
      tuning: method -> points of the grid, one of them chosen.
      losses: method -> its objective with the chosen settings, in words.
      grid: values of "learning_rate" and of "strength".
      baseline: a method; nothing is compared if it is not among the results, or failed on a seed.
      facts: what is needed to do it again.
      notes: what the numbers do not show.

    Raises:
      ValueError: methods differ in seeds or pictures.
    """
    seeds, still = sorted(before), dict(kl=0.0, chosen=0.0, rejected=0.0)
    start = {seed: {"ratios": ratios, "drift": still} for seed, ratios in before.items()}
    for name, runs in results.items():
        if sorted(runs) != seeds:
            raise ValueError(f"{name} has results of seeds {sorted(runs)}, the model before has {seeds}")
    level = results.get(baseline)
    if level and any("failed" in run for run in level.values()):
        level = None
    entries = [
        _entry(name, runs, level, losses.get(name, ""), list(tuning.get(name, ())))
        for name, runs in ((BEFORE, start), *results.items())
    ]
    ordered = [entries[0], *sorted(entries[1:], key=_rank)]
    axes = {axis: list(values) for axis, values in grid.items()}
    return Board(ordered, seeds, axes, baseline if level else None, dict(facts), list(notes))


def _entry(name: str, runs: Mapping, level: Mapping | None, loss: str, tuning: list[Point]) -> Entry:
    failed = {seed: run["failed"] for seed, run in sorted(runs.items()) if "failed" in run}
    done = {seed: run for seed, run in sorted(runs.items()) if "failed" not in run}
    values = {key: value for key in METRICS if done and (value := _value(key, done))}
    # Seeds that are left when others have failed are the easy ones: they are shown, and not compared.
    differences, verdict = {}, "failed" if failed else "baseline" if runs is level else ""
    for key in values if level and not verdict else ():
        ours, theirs = ({seed: run["ratios"].get(key) for seed, run in x.items()} for x in (runs, level))
        if METRICS[key].better and paired.defined(ours) and paired.defined(theirs):
            differences[key] = paired.compare(ours, theirs, METRICS[key].better)
    if level and not verdict:
        verdict = differences[RANKED_BY].verdict if RANKED_BY in differences else "not compared"
    return Entry(name, values, differences, failed, verdict, loss, tuning)


def _value(key: str, runs: Mapping[int, Mapping]) -> Value | None:
    """A metric over the seeds of some runs; None if not all of them have it."""
    ratios = {seed: run["ratios"].get(key) for seed, run in runs.items()}
    if not any(ratios.values()):
        numbers = {seed: run.get("drift", {}).get(key, run.get(key)) for seed, run in runs.items()}
        low = high = None
    elif all(ratios.values()):
        numbers = {seed: paired.mean_of_ratios(pairs) for seed, pairs in ratios.items()}
        _, low, high = intervals.mean_ratio(paired.pooled(ratios)) if paired.defined(ratios) else (None, None, None)
    else:
        return None
    if None in numbers.values():
        return None
    values = list(numbers.values())
    finite = all(map(math.isfinite, values))
    deviation = float(np.std(values, ddof=1)) if finite and len(values) > 1 else None
    seeds = {seed: float(x) if math.isfinite(x) else None for seed, x in numbers.items()}
    return Value(float(np.mean(values)) if finite else None, low, high, deviation, seeds)


def _rank(entry: Entry) -> tuple:
    value = entry.values.get(RANKED_BY)
    mean = value.mean if value else None
    return not entry.values, bool(entry.failed), mean is None, mean, entry.name


def _entry_of(raw: dict) -> Entry:
    def seeded(value: dict) -> dict:
        return value | {"seeds": {int(seed): x for seed, x in value["seeds"].items()}}

    given = {
        "values": {key: Value(**seeded(value)) for key, value in raw["values"].items()},
        "differences": {key: Difference(**seeded(value)) for key, value in raw["differences"].items()},
        "failed": {int(seed): why for seed, why in raw["failed"].items()},
        "tuning": [Point(**point) for point in raw["tuning"]],
    }
    return Entry(**raw | given)
