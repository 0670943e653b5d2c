"""The main job: a model that hallucinates is aligned and hallucinates less. Minutes on two CPU cores.

    python experiments/quickstart.py --workdir=runs/quickstart
    python experiments/quickstart.py --workdir=runs/quickstart --config=configs/mdpo.py   # same SFT model

Stages: scenes, vision tower, SFT, measure, sample and label pairs, align, measure, report. Each leaves its result in
the workdir and is skipped when that is there, so a run that was cut off goes on.
"""

import json
import time
from pathlib import Path

from absl import flags
from ml_collections import config_flags
from rich.console import Console

from experiments import console as script
from experiments import quickstart_report
from experiments.quickstart_stages import Quickstart

WORKDIR = flags.DEFINE_string("workdir", "runs/quickstart", "Where everything goes.")
SEED = flags.DEFINE_integer("seed", 0, "Of the scenes' statistics, initialisation, order and sampling.")
CONFIG = config_flags.DEFINE_config_file("config", "configs/dpo.py", "How to align.")
STAGES = config_flags.DEFINE_config_file("stages", "configs/quickstart.py", "What comes before.")
CONTROLS = flags.DEFINE_bool("controls", False, "Also train on the chosen answers alone, and on flipped labels.")


def main(_):
    start, console = time.perf_counter(), Console()
    quickstart = Quickstart(Path(WORKDIR.value), SEED.value, STAGES.value, console)
    data_dir = quickstart.scenes()
    sft = quickstart.sft(data_dir, quickstart.tower())
    before = quickstart.measure(sft, data_dir)
    pairs = quickstart.pairs(data_dir, sft)
    name = "+".join(term["name"] for term in CONFIG.value.loss)
    aligned = quickstart.align(CONFIG.value, name, sft, pairs)
    after = quickstart.measure(aligned, data_dir)
    if CONTROLS.value:
        controls = {}
        chosen = CONFIG.value.copy_and_resolve_references()
        chosen.loss, chosen.reference = (dict(name="chosen_nll"),), "none"
        for control, config, path in (
            ("sft_on_chosen", chosen, pairs),
            ("flipped_labels", CONFIG.value, quickstart.workdir / "flipped.jsonl"),
        ):
            controls[control] = quickstart.measure(quickstart.align(config, control, sft, path), data_dir).values()
        (quickstart.workdir / "controls.json").write_text(json.dumps(controls, indent=2))
    seconds = time.perf_counter() - start
    quickstart_report.write(quickstart, data_dir, before, after, ("SFT", name), (sft, aligned), seconds)


if __name__ == "__main__":
    script.start(main)
