"""What the quickstart tells: results.json, report.html and a table on the terminal."""

import json
import os

from align_jax.data import easy_vqa
from align_jax.data.media import read_image
from align_jax.data.sources.scenes import scenes
from align_jax.evals import intervals, report
from align_jax.evals.mentions import mentions
from align_jax.evals.report import Answer, Picture, Row
from align_jax.measure import Measurement
from align_jax.train import log

# metric, name, explanation, better, unit, group
ROWS = (
    ("chair_i", "CHAIR_i", "Share of the mentioned objects that are not in the picture. A mention that names no "
     "colour or no shape counts as hallucinated.", "lower", "fraction", "Hallucination in captions"),
    ("chair_s", "CHAIR_s", "Share of the captions with at least one such mention.", "lower", "fraction",
     "Hallucination in captions"),
    ("recall", "Recall", "Share of the objects in the picture that are mentioned.", "higher", "fraction",
     "Hallucination in captions"),
    ("exact", "Exact captions", "Captions that name all objects and nothing else.", "higher", "fraction",
     "Hallucination in captions"),
    ("malformed", "Malformed mentions", "Mentions that name no object at all.", "lower", "fraction",
     "Hallucination in captions"),
    ("mentions", "Mentions per caption", "Saying less lowers CHAIR: this should stay where it was.", None, "number",
     "Hallucination in captions"),
    ("pope_accuracy", "POPE accuracy", "Is there a red circle in the image? Mean of three splits that differ in what "
     "the absent objects are.", "higher", "fraction", "Yes/no questions"),
    ("pope_accuracy_random", "random", "Absent objects drawn at random.", "higher", "fraction", "Yes/no questions"),
    ("pope_accuracy_popular", "popular", "Absent objects that were frequent in training.", "higher", "fraction",
     "Yes/no questions"),
    ("pope_accuracy_adversarial", "adversarial", "Absent objects that went together with a present one in training.",
     "higher", "fraction", "Yes/no questions"),
    ("pope_f1", "POPE F1", "F1 of the answer yes; mean of the three splits.", "higher", "fraction",
     "Yes/no questions"),
    ("pope_yes_ratio", "Answers yes", "Half of the true answers are yes.", None, "fraction", "Yes/no questions"),
    ("pope_blind_accuracy", "Accuracy without pictures", "What the questions alone give away.", None, "fraction",
     "Yes/no questions"),
    ("official_accuracy", "Official easy-VQA accuracy", "Test questions of the data set itself: what alignment costs "
     "elsewhere.", "higher", "fraction", "Costs"),
    ("official_blind_accuracy", "Official, without pictures", "What the questions alone give away.", None, "fraction",
     "Costs"),
    ("in_prior_chair_i", "CHAIR_i, familiar scenes", "Test pictures arranged as the training scenes are.", "lower",
     "fraction", "Costs"),
)  # fmt: skip

NOTES = (
    "The pictures are rendered shapes, not photographs, and the model has a million parameters: the page shows that "
    "the method works, not how well it does on other data.",
    "Captions in training are all true. What misleads the model is their statistics: shapes come in fixed pairs, and "
    "held-out scenes break them.",
    "Intervals are over the choice of pictures; another seed moves the figures too.",
    "The preference data ask yes/no questions in POPE's words, so a part of POPE's gain is practice.",
)

PICTURES = 12


def write(quickstart, data_dir: str, before: Measurement, after: Measurement, names, runs, seconds: float) -> None:
    """Writes results.json and report.html into the workdir, and prints the table."""
    workdir, console = quickstart.workdir, quickstart.console
    results = {"before": before.values(), "after": after.values()}
    (workdir / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    rows = [_row(before, after, *spec) for spec in ROWS]
    first = rows[0]
    summary = (
        f"{first.before.value:.1%} of the objects that the model mentioned were not there; after alignment, "
        f"{first.after.value:.1%}."
    )
    minutes = {title: f"{s:.0f} s" for title, s in quickstart.times.items()}
    report.write(
        workdir / "report.html",
        title="Aligning a small multimodal model with preferences",
        summary=summary,
        rows=rows,
        curves={name: log.read(run / "metrics.jsonl") for name, run in zip(names, runs, strict=True)},
        pictures=_pictures(data_dir, before, after),
        facts={
            "Seed": str(quickstart.seed),
            "Method": names[1],
            "Data": "easy-VQA (MIT), composed into scenes; pictures below: the first held-out ones, not selected",
            "Time": f"{seconds:.0f} s on {os.cpu_count()} CPU cores ("
            + ", ".join(f"{k} {v}" for k, v in minutes.items())
            + ")",
            "Again": f"make quickstart SEED={quickstart.seed}",
        },
        notes=NOTES,
        names=names,
    )
    console.print(report.table(rows, names))
    console.print(f"{summary}\nreport: {workdir / 'report.html'}  ({seconds:.0f} s)")


def _row(before: Measurement, after: Measurement, metric, name, explanation, better, unit, group) -> Row:
    interval = before.interval(metric), after.interval(metric)
    pairs = after.ratios[metric], before.ratios[metric]
    change = intervals.mean_difference(*pairs)
    return Row(name, explanation, *interval, better, unit, group, change)


def _pictures(data_dir: str, before: Measurement, after: Measurement) -> list[Picture]:
    held_out = scenes(data_dir=data_dir, split="evaluation")

    def answer(measurement: Measurement, scene: str) -> Answer:
        text = measurement.captions[scene]
        return Answer(text, mentions(text, easy_vqa.CLASSES))

    shown = [held_out[i] for i in range(PICTURES)]
    return [
        Picture(read_image(r.images[0]), r.meta["objects"], answer(before, r.id), answer(after, r.id)) for r in shown
    ]
