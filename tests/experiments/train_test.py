"""The training script as a user runs it, in processes of its own."""

import os
import signal
import subprocess
import sys
import time

import pytest

from align_jax.train import log
from tests import pairs

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))


def start(config, workdir, *more):
    command = [sys.executable, "experiments/train.py", "--config=configs/dpo.py", f"--workdir={workdir}"]
    # One device: a process with eight takes longer to start.
    environment = os.environ | {"XLA_FLAGS": ""}
    return subprocess.Popen(
        [*command, *pairs.flags(config), "--config.frozen=()", *more],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process) -> str:
    output, _ = process.communicate(timeout=300)
    return output


def test_a_killed_run_goes_on_bit_for_bit(tmp_path):
    config = pairs.config(pairs.write(tmp_path / "data"))
    config.steps, config.checkpoint.save_every = 300, 20
    straight, killed = tmp_path / "straight", tmp_path / "killed"

    process = start(config, straight)
    assert "error" not in finish(process) and process.returncode == 0
    process = start(config, killed)
    while process.poll() is None and len(log.read(killed / "metrics.jsonl")) < 50:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    reached = log.read(killed / "metrics.jsonl")[-1]["step"]
    assert reached < 300, "the kill came too late to prove anything"
    output = finish(start(config, killed))
    assert "goes on at step" in output
    assert log.read(straight / "metrics.jsonl") == log.read(killed / "metrics.jsonl")


@pytest.mark.parametrize(
    "flag, message",
    [
        ("--config.optimizer.learning_rat=1", "learning_rat"),
        ("--config.loss[0].betta=1", "betta"),
        ("--config.data.source.path=nowhere.jsonl", "nowhere.jsonl"),
        ("--config.init_from=nowhere", "nowhere is not the workdir of a run"),
    ],
)
def test_a_wrong_setting_is_named_without_a_traceback(tmp_path, flag, message):
    process = start(pairs.config(pairs.write(tmp_path / "data")), tmp_path / "run", flag)
    output = finish(process)
    assert process.returncode != 0
    assert message in output
    assert "Traceback" not in output
