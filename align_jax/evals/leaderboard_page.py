"""A leaderboard as a figure and as a page. How the page looks: leaderboard.html.jinja."""

import io
import os
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from align_jax.evals import leaderboard_text as words
from align_jax.evals import page
from align_jax.evals.leaderboard import Board
from align_jax.evals.leaderboard_metrics import COLUMNS, METRICS, RANKED_BY
from align_jax.evals.page import ACCENT, BAD, INK, LINE, MUTED, PAPER

# Of a dot, by verdict: its shape tells as much as its colour.
MARKS = {"better": ("o", ACCENT, ACCENT), "worse": ("s", BAD, BAD), "baseline": ("D", INK, INK)}
HOLLOW = ("o", MUTED, PAPER)


def figure(board: Board) -> Figure:
    """A row for each method: CHAIR_i, recall, and how far the model and the chosen answers have moved."""
    widths = {"chair_i": 2.2, "recall": 1.5, "kl": 1.0, "chosen": 1.0}
    names = [e.name + f" ({len(e.failed)} failed)" * bool(e.failed) for e in board.entries]
    with matplotlib.rc_context(page.STYLE | {"axes.edgecolor": LINE, "axes.spines.left": False}):
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
    low, high = min(first, low - 3 * (high - low)), max(first, high + 3 * (high - low))
    return 1.5 * low - 0.5 * high, 1.5 * high - 0.5 * low


def _legend(board: Board) -> list[Line2D]:
    def handle(mark: tuple, label: str, size: float = 4.0, line: str = "") -> Line2D:
        shape, edge, fill = mark
        how = dict(marker=shape, markerfacecolor=fill, markersize=size, linestyle=line, linewidth=1.1)
        return Line2D([], [], color=edge, label=label, **how)

    labels = {"better": "better than {}", "worse": "worse than {}", "baseline": "{}"} if board.baseline else {}
    handles = [handle(MARKS[verdict], label.format(board.baseline)) for verdict, label in labels.items()]
    handles += [handle(HOLLOW, "neither" if board.baseline else "mean over seeds")]
    seed, bar = handle(("o", MUTED, MUTED), "one seed", 2.2), handle((None, MUTED, MUTED), "95 % interval", 0, "-")
    return [*handles, seed, bar]


def write(folder: str | os.PathLike, board: Board, *, name: str, title: str) -> None:
    """Writes name.json, name.md, name.png and name.html; an older file stays until the new one is complete."""
    path = Path(folder) / name
    content = page.render(
        "leaderboard.html.jinja",
        board=board,
        title=title,
        summary=words.headline(board),
        facts=board.facts,
        statements=words.statements(board),
        explanations=words.explanations(board),
        columns=COLUMNS,
        figure=page.svg(figure(board), salt=name),
        points=sorted({(p.learning_rate, p.scale) for e in board.methods for p in e.tuning}),
        bounds=words.bounds,
        settings=words.settings,
    )
    figure(board).savefig(picture := io.BytesIO(), format="png", dpi=200, facecolor=PAPER)
    page.save(f"{path}.json", board.to_json())
    page.save(f"{path}.md", words.markdown(board))
    page.save(f"{path}.png", picture.getvalue())
    page.save(f"{path}.html", content)
