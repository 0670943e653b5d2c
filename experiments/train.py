"""Trains by a config; run again, it goes on where it was stopped.

    python experiments/train.py --config=configs/dpo.py --workdir=runs/dpo --config.init_from=runs/sft \
        --config.data.source.path=pairs.jsonl
"""

from absl import flags
from ml_collections import config_flags

from align_jax import run
from experiments import console

CONFIG = config_flags.DEFINE_config_file("config", None, "Settings; any of them can follow as --config.a.b=value.")
WORKDIR = flags.DEFINE_string("workdir", None, "Where checkpoints, metrics and pictures go.")
flags.mark_flags_as_required(["config", "workdir"])


def main(_):
    run.train(CONFIG.value, WORKDIR.value)


if __name__ == "__main__":
    console.start(main)
