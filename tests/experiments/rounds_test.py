"""Rounds of alignment, as the script runs them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from align_jax import run
from align_jax.train import log
from tests import pairs

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def rounds(tmp_path_factory):
    """Two rounds on different pairs, and a rebirth."""
    folder = tmp_path_factory.mktemp("rounds")
    config = pairs.config(pairs.write(folder / "start"))
    config.steps = 1
    run.train(config, folder / "sft")
    for i in range(2):
        pairs.write(folder / f"data{i}", count=8, seed=i)
    config.optimizer.warmup = 0.0
    flags = [f for f in pairs.flags(config) if "source.path" not in f and "init_from" not in f]
    command = [sys.executable, "experiments/rounds.py", "--config=configs/dpo.py", f"--workdir={folder / 'out'}"]
    command += [*flags, f"--config.init_from={folder / 'sft'}", "--rounds=2", "--rebirth", "--plain_first"]
    command += [f"--config.data.source.path={folder}/data{{round}}/pairs.jsonl"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"XLA_FLAGS": ""})
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


def start_of(workdir):
    return json.loads(next((workdir / "checkpoints").glob("*/config/*")).read_text())["init_from"]


def test_each_round_starts_from_the_one_before_and_takes_it_as_reference(rounds):
    out = rounds / "out"
    assert start_of(out / "round0") == str(rounds / "sft") and start_of(out / "round1") == str(out / "round0")
    for i in range(2):
        first = log.read(out / f"round{i}" / "metrics.jsonl")[0]
        assert first["loss/dpo"] == pytest.approx(np.log(2), rel=1e-5), "policy and reference are one"
        assert ("loss/chosen_nll" in first) == (i == 1), "the first round is plain"


def test_rebirth_starts_before_all_rounds_and_learns_what_the_last_one_says(rounds):
    assert start_of(rounds / "out" / "rebirth") == str(rounds / "sft")
    lines = (rounds / "out" / "rebirth.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert rows and all(row["chosen"] and "rejected" not in row for row in rows)
    said = log.read(rounds / "out" / "rebirth" / "metrics.jsonl")
    assert "loss/sft" in said[0] and "loss/dpo" not in said[0]
    assert said[0]["logps/chosen"] == pytest.approx(of_first_batch(rounds), rel=1e-4), "of the model before all rounds"


def of_first_batch(rounds):
    """What the SFT model says of the answers that rebirth begins with."""
    config = pairs.config(rounds / "out" / "rebirth.jsonl", init_from=str(rounds / "sft"))
    config.data.source.root, config.loss, config.reference = "/", (dict(name="sft"),), "none"
    config.steps, config.optimizer.learning_rate = 1, 0.0
    run.train(config, rounds / "check")
    return log.read(rounds / "check" / "metrics.jsonl")[0]["logps/chosen"]
