"""Measures checkpoints on the held-out scenes: CHAIR, POPE with its blind baseline, official easy-VQA questions.

    python experiments/evaluate.py --run=runs/quickstart/sft --run=runs/quickstart/dpo+chosen_nll \
        --data_dir=runs/quickstart/data --out=scores.json
"""

import json
from pathlib import Path

from absl import flags
from rich.console import Console
from rich.table import Table

from align_jax.ask import open_run
from align_jax.measure import measure
from experiments import console as script

RUNS = flags.DEFINE_multi_string("run", None, "Workdir of a run; may be given several times.")
DATA = flags.DEFINE_string(
    "data_dir", None, "A set of scenes, or a folder that holds one, as the quickstart's `data` does."
)
STEP = flags.DEFINE_integer("step", None, "Of the checkpoint; the newest by default.")
BATCH = flags.DEFINE_integer("batch_size", 256, "Prompts at a time.")
OUT = flags.DEFINE_string("out", None, "Also write the values, as fractions, to this JSON file.")
flags.mark_flags_as_required(["run", "data_dir"])


def find_scenes(folder: str) -> str:
    """The one set of scenes in a folder.

    Raises:
      ValueError: there is none, or several.
    """
    sets = sorted(path.parent for path in Path(folder).rglob("dataset_info.json"))
    if len(sets) != 1:
        raise ValueError(f"--data_dir={folder} holds {len(sets)} sets of scenes, name one: {[str(s) for s in sets]}")
    return str(sets[0])


def main(_):
    console, found, data_dir = Console(), {}, find_scenes(DATA.value)
    for run in RUNS.value:
        trained = open_run(run, step=STEP.value)
        found[run] = measure(trained, data_dir, batch_size=BATCH.value, name=Path(run).name, console=console)
    table = Table("metric", *(f"{Path(run).name} (95 % interval)" for run in found))
    for metric in next(iter(found.values())).ratios:
        intervals = (measurement.interval(metric) for measurement in found.values())
        table.add_row(metric, *(f"{i.value:.3f} ({i.low:.3f} to {i.high:.3f})" for i in intervals))
    console.print(table)
    if OUT.value:
        values = {run: measurement.values() for run, measurement in found.items()}
        Path(OUT.value).write_text(json.dumps(values, indent=2) + "\n")


if __name__ == "__main__":
    script.start(main)
