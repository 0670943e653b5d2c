"""Curves of training, from the lines of metrics.jsonl: a figure for each kind of quantity."""

import math
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from align_jax.evals import page
from align_jax.evals.page import ACCENT, BAD, LINE

# Title of a panel: label of its y axis, metrics (those found are drawn), a level to compare with.
PANELS = {
    "Loss": ("loss", ("loss",), None),
    "Rewards": ("implicit reward (nats)", ("rewards/chosen", "rewards/rejected"), 0),
    "Pairs ranked as labelled": ("share of pairs (1 = all)", ("rewards/accuracies",), 0.5),
    "Log-probability of answers": ("nats per answer", ("logps/chosen", "logps/rejected"), None),
    "Gradient": ("global norm", ("grad_norm",), None),
}


def plot(stage: str, lines: Sequence[Mapping[str, float]]) -> dict[str, Markup]:
    """Title -> SVG, of the panels that there are finite numbers for: pale as logged, bold their moving average."""
    drawn = {}
    for title, (label, keys, level) in PANELS.items():
        points = {k: [(x["step"], x[k]) for x in lines if math.isfinite(x.get(k, math.nan))] for k in keys}
        found = {k: np.transpose(v) for k, v in points.items() if v}
        if not found:
            continue
        with matplotlib.rc_context(page.STYLE):
            figure = Figure((3.4, 2.2), layout="constrained")
            axes = figure.add_subplot(xlabel="step", ylabel=label)
            if level is not None:
                axes.axhline(level, color=LINE, linewidth=1)
            for (key, (steps, values)), color, dash in zip(found.items(), (ACCENT, BAD), ("-", "--"), strict=False):
                window = np.ones(len(values) // 20 * 2 + 1)
                smooth = np.convolve(values, window, "same") / np.convolve(np.ones(len(values)), window, "same")
                axes.plot(steps, values, color=color, linewidth=0.8, alpha=0.3)
                axes.plot(steps, smooth, dash, color=color, linewidth=1.6, label=key.split("/")[-1])
            if len(found) > 1:
                axes.legend(frameon=False)
        drawn[title] = page.svg(figure, salt=stage + title)
    return drawn
