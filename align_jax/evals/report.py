"""One HTML page, or a table in a terminal: a model before and after alignment. How it looks: report.html.jinja.

The page is one file that asks for nothing over a network, so that it can be mailed and kept with the run.
"""

import base64
import dataclasses
import io
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import jinja2
import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from PIL import Image
from rich.table import Table
from rich.text import Text

from align_jax.evals.intervals import Interval
from align_jax.evals.mentions import Mention

# Title of a panel: label of its y axis, metrics (those found are drawn), a level to compare with.
PANELS = {
    "Loss": ("loss", ("loss",), None),
    "Rewards": ("implicit reward (nats)", ("rewards/chosen", "rewards/rejected"), 0),
    "Pairs ranked as labelled": ("share of pairs (1 = all)", ("rewards/accuracies",), 0.5),
    "Log-probability of answers": ("nats per answer", ("logps/chosen", "logps/rejected"), None),
    "Gradient": ("global norm", ("grad_norm",), None),
}
# Figures are drawn in colours that nothing else has, and these become what the page's light or dark style says.
INKS = {"#0a0001": "var(--muted)", "#0a0002": "var(--line)", "#0a0003": "var(--accent)", "#0a0004": "var(--bad)"}
GRAY, LINE, *SERIES = INKS


class Change(NamedTuple):
    text: str  # "−21.1 points, −64 %"
    arrow: str
    verdict: str  # better, worse, higher, lower, no clear change, unchanged: it must be readable without colour


@dataclasses.dataclass(frozen=True)
class Row:
    """One metric of both models.

    Attributes:
      name: such as "CHAIR_i".
      explanation: for a reader who has never heard of it.
      before, after: with 95 % intervals; None where not measured.
      better: the good direction, or None where neither is.
      unit: fractions are shown in percent.
      group: heading under which rows stand together.
      change: `intervals.difference(after, before)`. A change is clear if this excludes 0; where it is not given, if
        the intervals of before and after do not overlap, which asks for more.

    Raises:
      ValueError: unknown `better` or `unit`, or `change` is not after minus before.
    """

    name: str
    explanation: str
    before: Interval | None
    after: Interval | None
    better: Literal["lower", "higher"] | None = None
    unit: Literal["fraction", "number"] = "fraction"
    group: str = ""
    change: Interval | None = None

    def __post_init__(self):
        if self.better not in ("lower", "higher", None) or self.unit not in ("fraction", "number"):
            raise ValueError(f"{self.name}: better={self.better!r} or unit={self.unit!r} is unknown")
        gap = self.after.value - self.before.value if self.measured else math.nan
        if self.change and not abs(self.change.value - gap) < 1e-6:
            raise ValueError(f"{self.name}: change={self.change.value} is not after - before = {gap}")

    @property
    def measured(self) -> bool:
        return all(x is not None and np.isfinite(x).all() for x in (self.before, self.after))

    def compare(self) -> Change | None:
        """None if it was not measured twice."""
        if not self.measured:
            return None
        before, after, gap = self.before, self.after, self.after.value - self.before.value
        text = f"{100 * gap:+.1f} points" if self.unit == "fraction" else f"{gap:+.2f}"
        text += f", {100 * gap / abs(before.value):+.0f} %" if before.value else ""
        low, high = self.change[1:] if self.change else (after.low - before.high, after.high - before.low)
        if not (low > 0 or high < 0):
            return Change(_typeset(text), "≈" if gap else "=", "no clear change" if gap else "unchanged")
        way = "higher" if gap > 0 else "lower"
        verdict = {None: way, way: "better"}.get(self.better, "worse")
        return Change(_typeset(text), "▲" if gap > 0 else "▼", verdict)

    def show(self, interval: Interval | None) -> tuple[str, str]:
        """A value and the bounds of its interval."""
        if interval is None or not np.isfinite(interval).all():
            return "not measured", ""
        scale, digits, unit = (100, 1, " %") if self.unit == "fraction" else (1, 2, "")
        value, low, high = (f"{scale * x:.{digits}f}" for x in interval)
        return _typeset(value + unit), _typeset(f"{low} to {high}")


class Answer(NamedTuple):
    text: str
    mentions: Sequence[Mention]  # in order, as `mentions.mentions` gives them


@dataclasses.dataclass(frozen=True)
class Picture:
    """A held-out picture u8[H, W, 3], the names of the objects in it, and what both models say.

    Raises:
      ValueError: another type or shape.
    """

    image: np.ndarray
    truth: Sequence[str]
    before: Answer
    after: Answer

    def __post_init__(self):
        if self.image.dtype != np.uint8 or self.image.ndim != 3 or self.image.shape[2] != 3:
            raise ValueError(f"a picture is u8[H, W, 3], not {self.image.dtype}{list(self.image.shape)}")

    def pieces(self, answer: Answer) -> list[tuple[str, str]]:
        """An answer's text in pieces, each with its fault: "" (none), "absent" from the picture, or "malformed".

        Raises:
          ValueError: mentions overlap, are out of order or not within the text.
        """
        pieces, done = [], 0
        for start, end, name in answer.mentions:
            if not done <= start <= end <= len(answer.text):
                raise ValueError(f"mention {start}:{end} is out of order or not within {answer.text!r}")
            fault = "malformed" if name is None else "" if name in self.truth else "absent"
            pieces += [(answer.text[done:start], ""), (answer.text[start:end], fault)]
            done = end
        return [*pieces, (answer.text[done:], "")]

    def missing(self, answer: Answer) -> list[str]:
        """Objects that an answer does not mention."""
        return [name for name in dict.fromkeys(self.truth) if name not in {m.object for m in answer.mentions}]

    def png(self) -> str:
        """As a data URI."""
        Image.fromarray(self.image).save(buffer := io.BytesIO(), "PNG")
        return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def table(rows: Sequence[Row], names: tuple[str, str] = ("before", "after")) -> Table:
    """What the page's table says, for a rich console."""
    result = Table("", *names, "change", "")
    for group, members in _groups(rows).items():
        result.add_row(Text(group, "bold"))
        for row in members:
            cells = ["\n".join(row.show(x)) for x in (row.before, row.after)]
            change = row.compare() or Change("", "", "")
            cells += [change.text.replace(", ", "\n"), f"{change.arrow} {change.verdict}"]
            result.add_row(*map(Text, (row.name, *cells)))
        result.add_section()
    return result


def write(
    path: str | os.PathLike,
    *,
    title: str,
    summary: str,
    rows: Sequence[Row] = (),
    curves: Mapping[str, Sequence[Mapping[str, float]]] = {},
    pictures: Sequence[Picture] = (),
    facts: Mapping[str, str] = {},
    notes: Sequence[str] = (),
    names: tuple[str, str] = ("before", "after"),
) -> None:
    """Writes the page. What is empty is left out; an older page stays until the new one is complete.

    Args:
      path: of the HTML file; folders are made.
      title: such as "Fewer hallucinations by DPO".
      summary: the result in one sentence, the headline: "CHAIR_i fell from 33.1 % to 12.0 %."
      rows: the metrics.
      curves: stage -> the lines of its metrics.jsonl, each with "step"; of the rest, what `PANELS` names is drawn.
      pictures: of the evaluation set; say in `notes` how they were chosen.
      facts: what is needed to do it again: configuration, seed, sizes, time, command.
      notes: what the numbers do not show.
      names: of the two models, such as ("SFT", "SFT + DPO").

    Raises:
      ValueError: an answer's mentions do not fit its text.
    """
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    env = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, loader=loader, trim_blocks=True)
    stages = {stage: panels for stage, lines in curves.items() if (panels := plot(stage, lines))}
    given = dict(title=title, summary=summary, pictures=pictures, facts=facts, notes=notes, names=names)
    page = env.get_template("report.html.jinja").render(given, groups=_groups(rows), stages=stages)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(page, "utf-8", "xmlcharrefreplace")  # a tokenizer may cut a character in half
    temporary.replace(path)


def plot(stage: str, lines: Sequence[Mapping[str, float]]) -> dict[str, Markup]:
    """Title -> SVG, of the panels that there are finite numbers for: pale as logged, bold their moving average."""
    drawn = {}
    style = {"svg.fonttype": "none", "font.size": 8, "axes.linewidth": 0.6, "axes.spines.right": False}
    style |= dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color", "axes.edgecolor"), GRAY)
    for title, (label, keys, level) in PANELS.items():
        points = {k: [(x["step"], x[k]) for x in lines if math.isfinite(x.get(k, math.nan))] for k in keys}
        found = {k: np.transpose(v) for k, v in points.items() if v}
        if not found:
            continue
        # The salt keeps ids apart that are made from content, and the page the same from run to run.
        with matplotlib.rc_context(style | {"axes.spines.top": False, "svg.hashsalt": stage + title}):
            figure = Figure((3.4, 2.2), layout="constrained")
            axes = figure.add_subplot(xlabel="step", ylabel=label)
            if level is not None:
                axes.axhline(level, color=LINE, linewidth=1)
            for (key, (steps, values)), color, dash in zip(found.items(), SERIES, ("-", "--"), strict=False):
                window = np.ones(len(values) // 20 * 2 + 1)
                smooth = np.convolve(values, window, "same") / np.convolve(np.ones(len(values)), window, "same")
                axes.plot(steps, values, color=color, linewidth=0.8, alpha=0.3)
                axes.plot(steps, smooth, dash, color=color, linewidth=1.6, label=key.split("/")[-1])
            if len(found) > 1:
                axes.legend(frameon=False)
            metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
            figure.savefig(buffer := io.StringIO(), format="svg", transparent=True, metadata=metadata)
        # As a part of HTML it needs no XML header and no namespaces; the ids of groups would repeat in every figure.
        svg = buffer.getvalue()
        svg = re.sub(r' xmlns[:\w]*="[^"]*"|(?<=<g) id="[^"]*"', "", svg[svg.index("<svg") :])
        drawn[title] = Markup(re.sub("|".join(INKS), lambda ink: INKS[ink[0]], svg))
    return drawn


def _groups(rows: Sequence[Row]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.group, []).append(row)
    return groups


def _typeset(text: str) -> str:
    """Real minus signs, and no line break between a number and its unit."""
    return text.replace("-", "\N{MINUS SIGN}").replace(" ", "\N{NO-BREAK SPACE}").replace(",\N{NO-BREAK SPACE}", ", ")
