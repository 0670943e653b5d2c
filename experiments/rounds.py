"""Alignment in rounds: each starts from the one before, its reference. mrDPO, and iterative DPO at large.

    python experiments/rounds.py --config=configs/video_salmonn2.py --workdir=runs/mrdpo --rounds=3 \
        --config.init_from=runs/sft --config.data.source.path='pairs_{round}.jsonl' \
        --plain_first --rebirth

`{round}` in the path of the data, if it is there, is 0, 1, ...: pairs made anew from the model of the round before.
When those of a round are missing, the script ends and names the model to sample from. With `--plain_first` the first
round has the first term of `config.loss` alone: mrDPO begins with plain DPO. With `--rebirth` the model of before all
rounds is at last fine-tuned on what the final one says to the same prompts (video-SALMONN 2,
https://arxiv.org/abs/2506.15220). What is done is kept: run again, it goes on.
"""

from collections.abc import Iterator
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict, config_flags
from rich.console import Console
from rich.progress import track

from align_jax import build, run
from align_jax.ask import ask, open_run
from align_jax.data.records import Record
from align_jax.preferences.save import save
from experiments import console as script

CONFIG = config_flags.DEFINE_config_file("config", None, "How to align in each round.")
WORKDIR = flags.DEFINE_string("workdir", None, "Gets round0, round1, ..., rebirth.jsonl and rebirth.")
ROUNDS = flags.DEFINE_integer("rounds", 3, "How many.", lower_bound=1)
PLAIN_FIRST = flags.DEFINE_bool("plain_first", False, "Whether the first round has the first term of the loss alone.")
REBIRTH = flags.DEFINE_bool("rebirth", False, "Whether to fine-tune the first model on the last one's answers.")
flags.mark_flags_as_required(["config", "workdir"])


def main(_):
    config, workdir, console = CONFIG.value, Path(WORKDIR.value), Console()
    if not config.init_from:
        raise ValueError("config.init_from is empty: rounds start from a model")
    start = config.init_from
    for i in range(ROUNDS.value):
        settings = of_round(config, i, start)
        if i and not Path(settings.data.source.path).exists():
            raise ValueError(f"round {i} needs {settings.data.source.path}: make it from {start}, and run this again")
        start = str(workdir / f"round{i}")
        run.train(settings, start, console=console, name=f"round {i}")
    if REBIRTH.value:
        path = workdir / "rebirth.jsonl"
        if not path.exists():
            save(path, answered(settings, start, console), root="/")
        run.train(reborn(config, path), workdir / "rebirth", console=console, name="rebirth")


def of_round(config: ConfigDict, i: int, start: str) -> ConfigDict:
    """The config of round i, which starts from `start`; that is also the reference."""
    settings = config.copy_and_resolve_references()
    settings.init_from = start
    settings.data.source.path = config.data.source.path.format(round=i)
    if i == 0 and PLAIN_FIRST.value:
        settings.loss = config.loss[:1]
    return settings


def reborn(config: ConfigDict, path: Path) -> ConfigDict:
    """Fine-tuning of the model before all rounds on the records in `path`."""
    settings = config.copy_and_resolve_references()
    settings.loss, settings.reference = (dict(name="sft"),), "none"
    settings.data.source = dict(name="jsonl", path=str(path), root="/")  # pictures stay where they are
    settings.data.views, settings.data.two_sided = ConfigDict(), False
    return settings


def answered(config: ConfigDict, workdir: str, console: Console) -> Iterator[Record]:
    """The prompts of a config's data with a run's greedy answers as chosen ones; empty answers are left out."""
    source, how = build.source(config), dict(max_tokens=config.data.completion_length, batch_size=config.batch_size)
    found = ask(open_run(workdir), source, temperature=0.0, **how)
    for record, words in track(found, "answering", total=len(source), console=console):
        if words[0]:
            yield Record(
                record.id,
                record.prompt,
                record.images,
                chosen=words[0],
                meta=record.meta,
                videos=record.videos,
                sounds=record.sounds,
            )


if __name__ == "__main__":
    script.start(main)
