"""What a leaderboard says in words, and its table in Markdown and in a terminal."""

import html
import re

from rich.table import Table
from rich.text import Text

from align_jax.evals.leaderboard import Board, Entry, Value
from align_jax.evals.leaderboard_metrics import COLUMNS, METRICS, RANKED_BY


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
        f"Methods: {len(board.methods)}; seeds: {len(board.seeds)}. On each seed all start from the same SFT model, "
        "which is the first row, and read the same pairs."
        + (" One seed tells nothing of how much another would change." if len(board.seeds) == 1 else ""),
        f"Every method was tuned over the same grid, learning rates {rates} times {scales} × the strength in its "
        "config (beta or what takes its place), on a seed that is not reported. The point with the highest F1 of "
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
        below = [f"<br><sub>{x}</sub>" if (x := bounds(*item)) else "" for item in values.items()]
        cells = [_with_deviation(*item) + x for item, x in zip(values.items(), below, strict=True)]
        compared = [_plain(verdict(entry))] if board.baseline else []
        failure = "" if board.baseline or not entry.failed else "<br>" + _plain(verdict(entry))
        lines.append([f"`{entry.name}`{failure}", *cells, *settings(entry, board), *compared])
    rows = ["| " + " | ".join(line) + " |" for line in lines]
    facts = [f"{name}: {value}" for name, value in board.facts.items()]
    columns = [f"{metric.name}: {metric.explanation}" for metric in COLUMNS.values()]
    points = [*statements(board), *explanations(board), *board.notes, *columns, *facts]
    listed = "\n".join(f"* {_plain(x)}" for x in points)
    return f"**{_plain(headline(board))}**\n\n" + "\n".join(rows) + f"\n\n{listed}\n"


def settings(entry: Entry, board: Board) -> tuple[str, str]:
    """Chosen learning rate, and strength as a multiple of that in the config."""
    if entry.chosen is None:
        return "", ""
    return f"{entry.chosen.learning_rate:g}", f"× {entry.chosen.scale:g}" if board.tuned(entry) else "none"


def verdict(entry: Entry) -> str:
    """The verdict, the difference that it rests on, and what got worse; or what failed."""
    if entry.failed:
        return entry.trouble
    gap, metric = entry.differences.get(RANKED_BY), METRICS[RANKED_BY]
    if gap is None:
        return entry.verdict
    low, high = metric.show(gap.low, "+"), metric.show(gap.high, "+")
    return f"{gap.verdict}: {metric.name} {metric.show(gap.value, '+')} ({low} to {high}){_worse(entry)}"


def _worse(entry: Entry) -> str:
    return f", but worse {', '.join(entry.costs)}" if entry.verdict == "better" and entry.costs else ""


def _with_deviation(key: str, value: Value | None) -> str:
    if value is None:
        return "–"
    deviation = f" ± {METRICS[key].show(value.deviation)}" if value.deviation is not None else ""
    return METRICS[key].show(value.mean) + deviation


def bounds(key: str, value: Value | None) -> str:
    """A metric's interval."""
    if value is None or value.low is None:
        return ""
    return f"{METRICS[key].show(value.low)} to {METRICS[key].show(value.high)}"


def _plain(text: str) -> str:
    """Text from elsewhere as a part of a Markdown line: no markup, no end of a cell."""
    return re.sub(r"([\\`*\[\]|~]|\b_|_\b)", r"\\\1", html.escape(" ".join(text.split()), quote=False))
