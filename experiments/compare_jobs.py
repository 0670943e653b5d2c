"""What experiments/compare.py runs in processes of its own: a seed's common stages, and one method on one seed."""

import dataclasses
import json
import os
import shutil
import time
import traceback
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict
from rich.console import Console

PAIRS = 500  # of the training pairs, on which displacement is measured


@dataclasses.dataclass(frozen=True, eq=False)
class Job:
    """One method with one setting on one seed.

    Attributes:
      method: its name.
      loss: terms of its objective.
      views: of the data.
      learning_rate: peak.
      train: a config, as dict: the budget.
      seed: of everything.
      folder: of the seed; holds the SFT model and the pairs.
      name: of the job's own folder in it.
      final: whether everything is measured and the model kept; else captions only.
      scale: of the strength of the method, in multiples of that in its config.
    """

    method: str
    loss: tuple[dict, ...]
    views: dict
    learning_rate: float
    train: dict[str, Any]
    seed: int
    folder: str
    name: str
    final: bool
    scale: float = 1.0

    @property
    def path(self) -> Path:
        return Path(self.folder) / self.name

    @property
    def result(self) -> Path:
        """Where the result is, once the job is done."""
        return self.path / "result.json"

    @property
    def settings(self) -> dict:
        """What distinguishes it from other jobs of its name, as JSON gives it back."""
        return json.loads(json.dumps({"learning_rate": self.learning_rate, "loss": self.loss, "views": self.views}))


def start_worker(cores: list[set[int]], next_worker, cache: str) -> None:
    """Initialises a process: its share of the cores, and a cache of compiled functions that all share."""
    with next_worker.get_lock():
        mine = cores[next_worker.value % len(cores)]
        next_worker.value += 1
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, mine)
    import jax

    jax.config.update("jax_compilation_cache_dir", cache)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
    from absl import logging

    logging.set_verbosity(logging.WARNING)


def prepare(folder: str, seed: int, stages: dict) -> float:
    """Scenes, tower, SFT, its measurement and pairs of a seed; returns CPU seconds."""
    from experiments.quickstart_stages import Quickstart

    start = time.process_time()
    Path(folder).mkdir(parents=True, exist_ok=True)
    with open(Path(folder) / "log.txt", "a", encoding="utf-8") as file:
        quickstart = Quickstart(Path(folder), seed, ConfigDict(stages), Console(file=file))
        data_dir = quickstart.scenes()
        (Path(folder) / "data_dir.txt").write_text(data_dir)
        sft = quickstart.sft(data_dir, quickstart.tower())
        quickstart.measure(sft, data_dir)
        quickstart.pairs(data_dir, sft)
    return time.process_time() - start


def run(job: Job) -> dict:
    """Trains and measures, unless that is done.

    Returns, and saves, `{"settings", "seconds", "ratios", "captions", "drift"}`, or `{"settings", "failed": why}`.
    """
    if job.result.exists():
        result = json.loads(job.result.read_text())
        if {"views": job.settings["views"], **result["settings"]} == job.settings:
            return result
    shutil.rmtree(job.path, ignore_errors=True)
    job.path.mkdir(parents=True)
    with open(job.path / "log.txt", "w", encoding="utf-8") as file:
        try:
            result = _run(job, Console(file=file))
        except FloatingPointError as error:  # a setting of the grid may be too much for a method
            result = {"failed": str(error)}
        except Exception as error:  # the others go on; this one is tried again by the next run
            traceback.print_exc(file=file)
            return {"failed": f"{type(error).__name__}: {error}; see {job.path}/log.txt"}
    result["settings"] = job.settings
    if not job.final:
        for name in ("checkpoints", "tensorboard"):
            shutil.rmtree(job.path / name, ignore_errors=True)
    partial = job.result.with_suffix(".partial")
    partial.write_text(json.dumps(result))
    partial.replace(job.result)
    return result


def _run(job: Job, console: Console) -> dict:
    from align_jax import build, drift
    from align_jax import run as training
    from align_jax.ask import open_run
    from align_jax.data.sources.scenes import scenes
    from align_jax.losses import Objective
    from align_jax.measure import CAPTION_TOKENS, measure

    config = ConfigDict(job.train)
    config.seed, config.loss, config.data.views = job.seed, job.loss, ConfigDict(job.views)
    config.reference = "frozen" if Objective.build(job.loss).needs_reference else "none"
    config.optimizer.learning_rate = job.learning_rate
    config.init_from = f"{job.folder}/sft"
    config.data.source = dict(name="jsonl", path=f"{job.folder}/pairs.jsonl")
    config.checkpoint = ConfigDict({"keep": 1, "save_every": 10**9})
    start = time.process_time()
    training.train(config, job.path, console=console, name=job.method)
    seconds = time.process_time() - start
    trained = open_run(job.path)
    data_dir = (Path(job.folder) / "data_dir.txt").read_text()
    found = measure(trained, data_dir, questions=job.final, name=job.method, console=console)
    result = {"seconds": seconds, "ratios": found.ratios, "captions": found.captions}
    if job.final:
        reference = open_run(config.init_from)
        held_out, pairs = scenes(data_dir=data_dir, split="evaluation"), build.source(config)
        how = dict(max_tokens=CAPTION_TOKENS, batch_size=128)
        result["drift"] = {
            "kl": drift.divergence(trained, reference, [held_out[i] for i in range(len(held_out))], **how),
            **drift.displacement(trained, reference, [pairs[i] for i in range(min(PAIRS, len(pairs)))], **how),
        }
    return result
