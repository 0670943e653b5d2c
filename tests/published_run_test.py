"""Runs that start from a published checkpoint, and what they leave: nothing here needs PyTorch."""

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from align_jax import build, exchange, registry, run, sharding
from align_jax.ask import ask, open_published, open_run
from align_jax.data.records import Record
from align_jax.models import families, mllm, pretrained
from align_jax.models.stored import CheckpointError
from align_jax.train import log
from configs import published_dpo
from tests import pairs
from tests.published import make_inputs

ROOT = Path(__file__).parent.parent
ONE = {"XLA_FLAGS": ""}  # one device: a process with eight takes longer to start


def checkpoint(folder: Path, model_type: str) -> Path:
    """A Hugging Face checkpoint of random weights, with tokenizer and processor."""
    family = families.build(make_inputs(folder / "files", model_type).to_dict())
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda x: jnp.asarray(0.1 * rng.normal(size=x.shape), jnp.float32), mllm.param_shapes(family.sizes)
    )
    pretrained.save_pretrained(folder / model_type, family, params, like=folder / "files")
    return folder / model_type


def config(path: Path, start: Path, **changes):
    settings = pairs.config(path, init_from=str(start), **changes)
    settings.steps, settings.frozen = 4, ("^vision/",)
    settings.data.prompt_length = 96
    settings.optimizer.schedule, settings.optimizer.warmup = "constant", 0.0
    return settings


def params_of(workdir):
    return jax.device_get(open_run(workdir).params)


def assert_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.fixture(scope="module")
def qwen(tmp_path_factory):
    """Four steps of DPO from a Qwen2.5-VL, pictures of two sizes."""
    folder = tmp_path_factory.mktemp("qwen")
    path = pairs.write(folder / "data")
    checkpoint(folder, "qwen2_5_vl")
    run.train(config(path, folder / "qwen2_5_vl"), folder / "run")
    return folder


def test_training_leaves_the_frozen_part_alone_and_moves_the_rest(qwen):
    before, after = pretrained.from_pretrained(qwen / "qwen2_5_vl").params, params_of(qwen / "run")
    assert_equal(before["vision"], after["vision"])
    moved = jax.tree.map(lambda a, b: float(np.abs(np.asarray(a) - b).max()), before["decoder"], after["decoder"])
    assert min(jax.tree.leaves(moved)) > 0
    lines = log.read(qwen / "run" / "metrics.jsonl")
    assert {"padding/prompt", "padding/completion", "padding/media"} <= set(lines[0])
    assert all(0 < line["padding/media"] < 1 for line in lines)


def test_a_resumed_run_equals_one_that_never_stopped(qwen, tmp_path):
    half = config(qwen / "data" / "pairs.jsonl", qwen / "qwen2_5_vl")
    half.steps = 2
    run.train(half, tmp_path)
    half.steps = 4
    run.train(half, tmp_path)
    assert_equal(params_of(tmp_path), params_of(qwen / "run"))


def test_a_run_can_be_asked_without_the_checkpoint_that_it_came_from(qwen):
    opened = open_run(qwen / "run")
    assert opened.model.inputs.folder == str(qwen / "run" / "published")
    records = [
        Record("seen", "describe the image.", (str(qwen / "data" / "0.png"),)),
        Record("two", "<image> or <image>?", (str(qwen / "data" / "1.png"), str(qwen / "data" / "2.png"))),
        Record("text", "what is red?"),
    ]
    how = dict(completions=2, max_tokens=8, batch_size=8, seed=1)
    found = list(ask(opened, records, **how))
    assert [record.id for record, _ in found] == ["seen", "two", "text"] and found == list(ask(opened, records, **how))


def test_what_a_run_has_trained_goes_back_to_hugging_face(qwen, tmp_path):
    command = [sys.executable, "experiments/export.py", f"--run={qwen / 'run'}", f"--out={tmp_path / 'out'}"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, env=os.environ | ONE)
    assert_equal(jax.device_get(pretrained.from_pretrained(tmp_path / "out").params), params_of(qwen / "run"))
    assert {path.name for path in (qwen / "qwen2_5_vl").iterdir()} == {p.name for p in (tmp_path / "out").iterdir()}
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "float32"
    with pytest.raises(CheckpointError, match="exists"):
        exchange.to_published(qwen / "run", tmp_path / "out")


def test_a_published_checkpoint_is_asked_as_it_lies_there(qwen):
    command = [sys.executable, "experiments/generate.py", f"--published={qwen / 'qwen2_5_vl'}", "--prompt_length=96"]
    command += [f"--image={qwen / 'data' / '0.png'}", "--max_tokens=4", "--prompt=describe the image."]
    said = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, env=os.environ | ONE).stdout
    record = Record("same", "describe the image.", (str(qwen / "data" / "0.png"),))
    opened = open_published(qwen / "qwen2_5_vl", sharding.one_device(), prompt_length=96)
    (expected,) = ask(opened, [record], max_tokens=4, temperature=0.0, batch_size=1)
    assert said == expected[1][0] + "\n"


def test_a_checkpoint_turned_into_a_run_is_asked_and_trained_from(qwen, tmp_path):
    settings = config(qwen / "data" / "pairs.jsonl", qwen / "qwen2_5_vl").to_dict()
    exchange.from_published(qwen / "qwen2_5_vl", tmp_path / "start", settings)
    assert_equal(params_of(tmp_path / "start"), jax.device_get(pretrained.from_pretrained(qwen / "qwen2_5_vl").params))
    run.train(config(qwen / "data" / "pairs.jsonl", tmp_path / "start"), tmp_path / "run")
    assert_equal(params_of(tmp_path / "run"), params_of(qwen / "run"))


def test_a_model_that_was_made_here_is_not_exported(tmp_path):
    settings = pairs.config(pairs.write(tmp_path / "data"))
    settings.steps = 1
    run.train(settings, tmp_path / "run")
    with pytest.raises(CheckpointError, match="made here"):
        exchange.to_published(tmp_path / "run", tmp_path / "out")


def test_each_side_of_a_pair_can_have_its_own_pictures(tmp_path):
    path = pairs.write(tmp_path / "data")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for i, row in enumerate(rows[::2]):
        row["rejected_images"] = [f"{i}.png"]
    path.write_text("\n".join(map(json.dumps, rows)))
    settings = config(path, checkpoint(tmp_path, "llava"))
    settings.steps = 1
    settings.loss = (dict(name="dpo", beta=0.1),)
    settings.data.two_sided = True
    run.train(settings, tmp_path / "run")
    (line,) = log.read(tmp_path / "run" / "metrics.jsonl")
    assert np.isfinite(line["loss"]) and line["grad_norm"] > 0
    settings.loss = (dict(name="mdpo"),)
    with pytest.raises(ValueError, match="mdpo"):
        run.train(settings, tmp_path / "other")


def test_a_corrupted_picture_of_another_size_has_a_prompt_of_its_own(qwen, tmp_path):
    settings = config(qwen / "data" / "pairs.jsonl", qwen / "qwen2_5_vl")
    settings.steps, settings.loss = 1, (dict(name="mdpo"),)
    settings.data.views.corrupted = dict(name="corrupt:random_crop", scale=(0.01, 0.2))
    run.train(settings, tmp_path)
    (line,) = log.read(tmp_path / "metrics.jsonl")
    assert line["loss"] == pytest.approx(3 * np.log(2), rel=1e-4), "policy and reference are one at step 0"
    assert line["grad_norm"] > 0


def test_every_option_of_every_processor_is_a_setting(qwen):
    """So that each can be given on the command line, where settings that a config lacks are errors."""
    package, known = "align_jax.data.processors", set()
    for name in registry.names(package):
        known |= set(inspect.signature(registry.find(package, name)).parameters) - {"folder"}
    settings = published_dpo.get_config()
    assert known == set(settings.processor)
    settings.processor.max_pixels = 3136
    assert build.published_model(qwen / "qwen2_5_vl", settings.to_dict()).inputs.options == {"max_pixels": 3136}
    settings.processor.split = True
    with pytest.raises(ValueError, match="split"):
        build.published_model(qwen / "qwen2_5_vl", settings.to_dict())


def test_a_prompt_that_names_more_pictures_than_it_has_is_a_reject(qwen, tmp_path):
    path = qwen / "data" / "bad.jsonl"
    rows = [json.loads(line) for line in (qwen / "data" / "pairs.jsonl").read_text().splitlines()]
    rows[3] |= {"prompt": "<image><image><image> what?", "images": ["0.png", "1.png"]}
    rows[5]["prompt"] = "what is <|image_pad|>?"
    path.write_text("\n".join(map(json.dumps, rows)))
    settings = config(path, qwen / "qwen2_5_vl")
    settings.data.max_reject_fraction = 0.1
    run.train(settings, tmp_path)
    reasons = {r["where"]: r["reason"] for r in map(json.loads, (tmp_path / "rejects.jsonl").read_text().splitlines())}
    assert len(reasons) == 2
    assert "3 <image> marks for 2 images" in reasons[f"{path}:4"] and "<|image_pad|>" in reasons[f"{path}:6"]
