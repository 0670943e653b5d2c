"""Methods side by side: means over seeds, intervals over pictures, and which of them beat a baseline.

`build` makes numbers of measurements; the rest shows them: JSON, Markdown, a figure, a page and a table in a terminal.
How the page looks: leaderboard.html.jinja. It is one file that asks for nothing over a network.
"""

import base64
import dataclasses
import hashlib
import html
import io
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jinja2
import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from rich.table import Table
from rich.text import Text

from align_jax.evals import intervals

BEFORE = "SFT (before)"
RANKED_BY = "chair_i"
VERDICTS = ("better", "no clear difference", "worse", "not compared", "failed")
# Colours of figures. As a part of the page they become what its light or dark style says.
COLORS = {
    "--paper": "#ffffff", "--ink": "#1b1c1e", "--muted": "#63676e", "--line": "#dfdfdb", "--accent": "#1c5bb8",
    "--bad": "#b0361a",
}  # fmt: skip
PAPER, INK, MUTED, LINE, ACCENT, BAD = COLORS.values()
# Of a dot, by verdict: its shape tells as much as its colour.
MARKS = {"better": ("o", ACCENT, ACCENT), "worse": ("s", BAD, BAD), "baseline": ("D", INK, INK)}
HOLLOW = ("o", MUTED, PAPER)


class Metric(NamedTuple):
    name: str
    explanation: str
    better: Literal["lower", "higher"] | None
    scale: float = 100  # fractions are shown in percent
    digits: int = 1
    column: bool = True  # or in the JSON file only

    def show(self, value: float | None, sign: str = "") -> str:
        return "undefined" if value is None else f"{self.scale * value:{sign}.{self.digits}f}".replace("-", "−")


METRICS = {
    "chair_i": Metric("CHAIR_i", "Share of the mentioned objects that are not in the picture, in percent. A mention "
                      "that names no colour or no shape counts as hallucinated. Undefined if nothing is mentioned.",
                      "lower"),
    "chair_s": Metric("CHAIR_s", "Share of the captions with at least one such mention, in percent.", "lower"),
    "recall": Metric("recall", "Share of the objects in the picture that are mentioned, in percent. Whoever says less "
                     "hallucinates less: CHAIR is worth what recall does not pay for it.", "higher"),
    "exact": Metric("exact", "Captions that name all objects and nothing else, in percent.", "higher"),
    "f1": Metric("F1", "Of mentioned and present objects: what settings are chosen by.", "higher", column=False),
    "pope_accuracy": Metric("POPE", "Accuracy of yes/no questions about objects, in percent; mean of three splits.",
                            "higher"),
    "official_accuracy": Metric("easy-VQA", "Accuracy of the official easy-VQA test questions, in percent, which no "
                                "pair is about: what alignment costs elsewhere.", "higher"),
    "words": Metric("words", "Words per caption.", None, 1),
    "kl": Metric("KL", "Divergence of the model from the reference, in nats per sampled caption: how far it moved.",
                 None, 1, 2),
    "chosen": Metric("chosen", "By how many nats the log-probability of the chosen answers moved. Below 0, they too "
                     "became less likely (displacement).", None, 1, 2),
    "rejected": Metric("rejected", "The same of the rejected answers.", None, 1, 2, column=False),
    "seconds": Metric("CPU s", "CPU seconds of training, over all cores and with compilation.", None, 1, 0),
}  # fmt: skip
COLUMNS = {key: metric for key, metric in METRICS.items() if metric.column}


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
class Difference:
    """A method less the baseline, on the same pictures; what `compare` returns."""

    value: float
    low: float
    high: float
    seeds: dict[int, float]
    verdict: Literal["better", "worse", "no clear difference"]


@dataclasses.dataclass(frozen=True)
class Point:
    """A point of the tuning grid: `f1` is None where the run failed. `scale` multiplies the paper's strength."""

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

    def save(self, path: str | os.PathLike) -> None:
        _replace(path, json.dumps(dataclasses.asdict(self), indent=1, allow_nan=False) + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Board":
        """Reads what `save` wrote."""
        raw = json.loads(Path(path).read_text())
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
    gap = intervals.mean_difference(_pooled(ratios), _pooled(other))
    good = -1 if better == "lower" else 1
    signs = {np.sign(good * x) for x in (gap.low, gap.high, *seeds.values())}
    verdict = {1: "better", -1: "worse"}.get(signs.pop(), "") if len(signs) == 1 else ""
    return Difference(*gap, seeds, verdict or "no clear difference")


def _entry(name: str, runs: Mapping, level: Mapping | None, loss: str, tuning: list[Point]) -> Entry:
    failed = {seed: run["failed"] for seed, run in sorted(runs.items()) if "failed" in run}
    done = {seed: run for seed, run in sorted(runs.items()) if "failed" not in run}
    values = {key: value for key in METRICS if done and (value := _value(key, done))}
    # Seeds that are left when others have failed are the easy ones: they are shown, and not compared.
    differences, verdict = {}, "failed" if failed else "baseline" if runs is level else ""
    for key in values if level and not verdict else ():
        ours, theirs = ({seed: run["ratios"].get(key) for seed, run in x.items()} for x in (runs, level))
        if METRICS[key].better and _defined(ours) and _defined(theirs):
            differences[key] = compare(ours, theirs, METRICS[key].better)
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
        numbers = {seed: mean_of_ratios(pairs) for seed, pairs in ratios.items()}
        _, low, high = intervals.mean_ratio(_pooled(ratios)) if _defined(ratios) else (None, None, None)
    else:
        return None
    if None in numbers.values():
        return None
    values = list(numbers.values())
    finite = all(map(math.isfinite, values))
    deviation = float(np.std(values, ddof=1)) if finite and len(values) > 1 else None
    seeds = {seed: float(x) if math.isfinite(x) else None for seed, x in numbers.items()}
    return Value(float(np.mean(values)) if finite else None, low, high, deviation, seeds)


def mean_of_ratios(pairs: intervals.Pairs) -> float:
    """The mean of some ratios of sums, nan where one is of nothing."""
    return float(np.mean([np.sum(top) / np.sum(bottom) if np.sum(bottom) else math.nan for top, bottom in pairs]))


def _defined(ratios: Mapping[int, intervals.Pairs | None]) -> bool:
    return all(pairs and math.isfinite(mean_of_ratios(pairs)) for pairs in ratios.values())


def _pooled(ratios: Mapping[int, intervals.Pairs]) -> list[tuple[np.ndarray, np.ndarray]]:
    """All seeds' pairs. A seed with fewer pictures is filled up with empty ones, which add 0 to both sums."""
    pairs = [tuple(np.asarray(x, float) for x in pair) for _, pairs in sorted(ratios.items()) for pair in pairs]
    longest = max(len(top) for top, _ in pairs)
    return [tuple(np.pad(x, (0, longest - len(x))) for x in pair) for pair in pairs]


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


def headline(board: Board) -> str:
    """The result in one sentence."""
    methods = [e for e in board.methods if e.name != board.baseline]
    if board.baseline is None:
        best = next((e for e in board.methods if not e.failed and e.values[RANKED_BY].mean is not None), None)
        least = f"; the lowest CHAIR_i is {best.name}'s" if best else ""
        return f"{len(methods)} methods, none compared: the baseline is not among them, or failed{least}."
    better = len(board.verdicts().get("better", ()))
    return f"{better} of {len(methods)} methods beat plain {board.baseline} on CHAIR_i."


def statements(board: Board) -> list[str]:
    """Which methods beat the baseline, at which cost, and plainly which do not."""
    if board.baseline is None:
        return []
    verdicts = board.verdicts()
    better = verdicts.pop("better", [])
    said = [f"Beat plain {board.baseline} on CHAIR_i: {', '.join(better) or 'none'}."]
    costs = [f"{e.name} ({', '.join(e.costs)})" for e in board.methods if e.name in better and e.costs]
    said += [f"Of these, clearly worse than {board.baseline} in something else: {'; '.join(costs)}."] if costs else []
    rest = [f"Do not beat plain {board.baseline} ({why}): {', '.join(names)}." for why, names in verdicts.items()]
    return said + rest


def explanations(board: Board) -> list[str]:
    """How it was done and how to read it, a paragraph each."""
    rates, scales = (", ".join(f"{x:g}" for x in board.grid[axis]) for axis in ("learning_rate", "strength"))
    fixed = [e.name for e in board.methods if e.tuning and not board.tuned(e)]
    edge, points = [e.name for e in board.methods if board.at_edge(e)], [e for e in board.methods if e.chosen]
    every = max(map(len, board.grid.values())) < 3
    said = [
        f"{len(board.methods)} methods on {len(board.seeds)} seeds. On each seed all start from the same SFT model, "
        "which is the first row, and read the same pairs.",
        f"Every method was tuned over the same grid, learning rates {rates} times {scales} × the strength in its "
        "paper (beta or what takes its place), on a seed that is not reported. The point with the highest F1 of "
        "mentioned objects was chosen."
        + (f" Tuned in learning rate only, for want of a strength: {', '.join(fixed)}." if fixed else ""),
        "A best point at the edge of the grid may mean that the method could do better: here "
        f"{len(edge)} of {len(points)} lie there"
        + (", as every point of so small a grid does." if every else f": {', '.join(edge)}." if edge else "."),
        "Values are means over seeds. Below them are 95 % intervals by the bootstrap over pictures, which hold the "
        "trained models fixed, and, after ±, the standard deviation over seeds. Each seed has pictures of its own. "
        "Where seeds differ in the number of pictures that are asked about, as in POPE, those with fewer are filled "
        "up with pictures that no question is about, which change no value.",
    ]
    if board.baseline:
        compared = len([e for e in board.methods if e.name != board.baseline])
        said += [
            f"A method beats {board.baseline} if the 95 % interval of its difference in CHAIR_i, on the same "
            "pictures, lies below 0, and if it is lower on every seed; it is worse if both say the opposite. "
            f"With {compared} comparisons, about {0.05 * compared:.1f} such intervals would miss 0 by chance alone "
            "if no method differed; that all seeds must agree makes it fewer."
        ]
    if any(e.failed for e in board.methods):
        said += [
            "Runs that failed stay in the table. A method that failed on some seeds shows the values of the others, "
            "is compared with nothing, and stands below those that finished."
        ]
    return said


def table(board: Board) -> Table:
    """The main columns, for a rich console: a line for each method."""
    keys = [key for key in COLUMNS if key not in ("chair_s", "exact", "words", "seconds")]
    against = [f"less {board.baseline}", "verdict"] if board.baseline else [""]
    result = Table("method", *(COLUMNS[key].name for key in keys), *against)
    for entry in board.entries:
        values = {key: entry.values.get(key) for key in keys}
        cells = [METRICS[key].show(value.mean) if value else "–" for key, value in values.items()]
        cells[0] = _with_deviation(RANKED_BY, values[RANKED_BY])
        gap = entry.differences.get(RANKED_BY)
        verdict = entry.trouble or entry.verdict + _worse(entry)
        compared = [METRICS[RANKED_BY].show(gap.value, "+") if gap else ""] if board.baseline else []
        result.add_row(*map(Text, (entry.name, *cells, *compared, verdict)))
    return result


def markdown(board: Board) -> str:
    """Headline, table and explanations, for a README."""
    against = [f"against {board.baseline}"] if board.baseline else []
    heads = ["method", *(metric.name for metric in COLUMNS.values()), "rate", "strength", *against]
    lines = [heads, ["---"] * len(heads)]
    for entry in board.entries:
        values = {key: entry.values.get(key) for key in COLUMNS}
        bounds = [f"<br><sub>{x}</sub>" if (x := _bounds(*item)) else "" for item in values.items()]
        cells = [_with_deviation(*item) + x for item, x in zip(values.items(), bounds, strict=True)]
        verdict = [_plain(_verdict(entry, board))] if board.baseline else []
        failure = "" if board.baseline or not entry.failed else "<br>" + _plain(_verdict(entry, board))
        lines.append([f"`{entry.name}`{failure}", *cells, *settings(entry, board), *verdict])
    rows = ["| " + " | ".join(line) + " |" for line in lines]
    facts = [f"{name}: {value}" for name, value in board.facts.items()]
    columns = [f"{metric.name}: {metric.explanation}" for metric in COLUMNS.values()]
    points = [*statements(board), *explanations(board), *board.notes, *columns, *facts]
    listed = "\n".join(f"* {_plain(x)}" for x in points)
    return f"**{_plain(headline(board))}**\n\n" + "\n".join(rows) + f"\n\n{listed}\n"


def settings(entry: Entry, board: Board) -> tuple[str, str]:
    """Chosen learning rate, and strength as a multiple of the paper's."""
    if entry.chosen is None:
        return "", ""
    return f"{entry.chosen.learning_rate:g}", f"× {entry.chosen.scale:g}" if board.tuned(entry) else "none"


def figure(board: Board) -> Figure:
    """A row for each method: CHAIR_i, recall, and how far the model and the chosen answers have moved."""
    widths = {"chair_i": 2.2, "recall": 1.5, "kl": 1.0, "chosen": 1.0}
    style = {"font.size": 8, "axes.linewidth": 0.6, "svg.fonttype": "none", "svg.hashsalt": "leaderboard"}
    style |= dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color"), MUTED) | {"axes.edgecolor": LINE}
    style |= dict.fromkeys(("axes.spines.top", "axes.spines.right", "axes.spines.left"), False)
    names = [e.name + f" ({len(e.failed)} failed)" * bool(e.failed) for e in board.entries]
    with matplotlib.rc_context(style):
        drawn = Figure((8.3, 1.1 + 0.19 * len(names)), layout="constrained")
        panels = drawn.subplots(1, len(widths), sharey=True, width_ratios=list(widths.values()))
        panels[0].set_ylim(len(names) - 0.4, -0.6)
        panels[0].set_yticks(range(len(names)), names, color=INK)
        for key, axes in zip(widths, panels, strict=True):
            _panel(axes, key, board)
        drawn.legend(handles=_legend(board), loc="outside upper left", ncols=7, frameon=False, handletextpad=0.3)
    return drawn


def _panel(axes, key: str, board: Board) -> None:
    metric, values = METRICS[key], [entry.values.get(key) for entry in board.entries]
    name = {"kl": "KL from SFT, nats", "chosen": "chosen moved, nats"}.get(key, f"{metric.name}, %")
    axes.set_xlabel(name + {"lower": "  ← better", "higher": "  better →", None: ""}[metric.better])
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", color=LINE)
    axes.grid(axis="y", color=LINE, linewidth=0.4)
    axes.set_axisbelow(True)
    if key in ("kl", "chosen"):  # some methods move a hundred times as far as others
        axes.set_xscale("symlog", linthresh=1)
        axes.xaxis.set_major_formatter("{x:g}")
    low, high = _limits([v.mean if v else None for v in values])
    for y, (entry, value) in enumerate(zip(board.entries, values, strict=True)):
        gap = entry.differences.get(key)
        verdict = gap.verdict if gap else entry.verdict if entry.verdict == "baseline" else ""
        shape, edge, fill = MARKS.get(verdict, HOLLOW)
        at = dict(transform=axes.get_yaxis_transform(), va="center", fontsize=7, color=edge)
        if value is None or value.mean is None:
            if key == RANKED_BY:
                axes.text(0.01, y, "failed" if entry.failed else "undefined", **at)
        elif metric.scale == 100 and not low <= value.mean <= high:
            side = value.mean > high
            text = f"{metric.show(value.mean)} →" if side else f"← {metric.show(value.mean)}"
            axes.text(0.99 if side else 0.01, y, text, ha="right" if side else "left", **at)
        else:
            dots = [metric.scale * x for x in value.seeds.values()]
            axes.scatter(dots, [y] * len(dots), s=5, color=edge, alpha=0.45, linewidths=0, zorder=3)
            if value.low is not None:
                axes.plot([metric.scale * value.low, metric.scale * value.high], [y, y], color=edge, linewidth=1.1)
            axes.plot(metric.scale * value.mean, y, shape, color=edge, markerfacecolor=fill, markersize=4, zorder=4)
            if verdict == "baseline":
                axes.axvline(metric.scale * value.mean, color=INK, linewidth=0.7, linestyle=(0, (4, 3)), zorder=1)


def _limits(means: Sequence[float | None]) -> tuple[float, float]:
    """What is drawn to scale: all but values so far out that the others would become one dot. The first is in."""
    known = [x for x in means if x is not None] or [0.0]
    low, high = np.quantile(known, (0.25, 0.75))
    first = known[0] if means[0] is None else means[0]
    return min(first, low - 5 * (high - low)), max(first, high + 5 * (high - low))


def _legend(board: Board) -> list[Line2D]:
    def handle(mark: tuple, label: str, size: float = 4.0, line: str = "") -> Line2D:
        shape, edge, fill = mark
        how = dict(marker=shape, markerfacecolor=fill, markersize=size, linestyle=line, linewidth=1.1)
        return Line2D([], [], color=edge, label=label, **how)

    words = {"better": "better than {}", "worse": "worse than {}", "baseline": "{}"} if board.baseline else {}
    handles = [handle(MARKS[verdict], word.format(board.baseline)) for verdict, word in words.items()]
    handles += [handle(HOLLOW, "neither" if board.baseline else "mean over seeds")]
    seed, bar = handle(("o", MUTED, MUTED), "one seed", 2.2), handle((None, MUTED, MUTED), "95 % interval", 0, "-")
    return [*handles, seed, bar]


def svg(board: Board) -> Markup:
    """The figure as a part of the page, in its colours."""
    metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure(board).savefig(buffer := io.StringIO(), format="svg", transparent=True, metadata=metadata)
    text = buffer.getvalue()
    # As a part of HTML it needs no XML header and no namespaces.
    text = re.sub(r' xmlns[:\w]*="[^"]*"|(?<=<g) id="[^"]*"', "", text[text.index("<svg") :])
    for name, color in COLORS.items():
        text = text.replace(color, f"var({name})")
    return Markup(text)


def write(folder: str | os.PathLike, board: Board, *, name: str, title: str) -> None:
    """Writes name.json, name.md, name.png and name.html; an older file stays until the new one is complete."""
    path = Path(folder) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    env = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, loader=loader, trim_blocks=True)
    env.filters["digest"] = lambda text: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    page = env.get_template("leaderboard.html.jinja").render(
        board=board,
        title=title,
        headline=headline(board),
        statements=statements(board),
        explanations=explanations(board),
        columns=COLUMNS,
        figure=svg(board),
        points=sorted({(p.learning_rate, p.scale) for e in board.methods for p in e.tuning}),
        bounds=_bounds,
        settings=settings,
        verdict=_verdict,
    )
    board.save(f"{path}.json")
    _replace(f"{path}.md", markdown(board))
    figure(board).savefig(picture := io.BytesIO(), format="png", dpi=200, facecolor=PAPER)
    _replace(f"{path}.png", picture.getvalue())
    _replace(f"{path}.html", page)


def _verdict(entry: Entry, board: Board) -> str:
    """Of the table: the verdict, the difference that it rests on, and what got worse."""
    if entry.failed:
        return entry.trouble
    gap, metric = entry.differences.get(RANKED_BY), METRICS[RANKED_BY]
    if gap is None:
        return entry.verdict
    low, high = metric.show(gap.low, "+"), metric.show(gap.high, "+")
    return f"{gap.verdict}{_worse(entry)}: {metric.show(gap.value, '+')} ({low} to {high})"


def _worse(entry: Entry) -> str:
    return f", but worse {', '.join(entry.costs)}" if entry.verdict == "better" and entry.costs else ""


def _with_deviation(key: str, value: Value | None) -> str:
    if value is None:
        return "–"
    deviation = f" ± {METRICS[key].show(value.deviation)}" if value.deviation is not None else ""
    return METRICS[key].show(value.mean) + deviation


def _bounds(key: str, value: Value | None) -> str:
    if value is None or value.low is None:
        return ""
    return f"{METRICS[key].show(value.low)} to {METRICS[key].show(value.high)}"


def _plain(text: str) -> str:
    """Text from elsewhere as a part of a Markdown line: no markup, no end of a cell."""
    return re.sub(r"([\\`*\[\]|~]|\b_|_\b)", r"\\\1", html.escape(" ".join(text.split()), quote=False))


def _replace(path: str | os.PathLike, content: str | bytes) -> None:
    temporary = Path(f"{path}.tmp")
    raw = content if isinstance(content, bytes) else content.encode("utf-8", "xmlcharrefreplace")
    temporary.write_bytes(raw)
    temporary.replace(path)
