"""One HTML page, or a table in a terminal: a model before and after alignment. How it looks: report.html.jinja."""

import base64
import dataclasses
import io
import math
import os
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image
from rich.table import Table
from rich.text import Text

from align_jax.evals import page
from align_jax.evals.curves import plot
from align_jax.evals.intervals import Interval
from align_jax.evals.mentions import Mention


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
      curves: stage -> the lines of its metrics.jsonl, each with "step"; what `curves.PANELS` names is drawn.
      pictures: of the evaluation set; say in `notes` how they were chosen.
      facts: what is needed to do it again: configuration, seed, sizes, time, command.
      notes: what the numbers do not show.
      names: of the two models, such as ("SFT", "SFT + DPO").

    Raises:
      ValueError: an answer's mentions do not fit its text.
    """
    stages = {stage: panels for stage, lines in curves.items() if (panels := plot(stage, lines))}
    given = dict(title=title, summary=summary, pictures=pictures, facts=facts, notes=notes, names=names)
    page.save(path, page.render("report.html.jinja", **given, groups=_groups(rows), stages=stages))


def _groups(rows: Sequence[Row]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.group, []).append(row)
    return groups


def _typeset(text: str) -> str:
    """Real minus signs, and no line break between a number and its unit."""
    return text.replace("-", "\N{MINUS SIGN}").replace(" ", "\N{NO-BREAK SPACE}").replace(",\N{NO-BREAK SPACE}", ", ")
