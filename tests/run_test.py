import json

import jax
import numpy as np
import pytest

from align_jax import run
from align_jax.ask import ask, open_run
from align_jax.data.records import Record
from align_jax.data.rejects import TooManyRejects
from align_jax.train import log
from align_jax.train.checkpoint import CheckpointError
from tests import pairs


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of six steps, on one device of eight."""
    folder = tmp_path_factory.mktemp("run")
    config = pairs.config(pairs.write(folder / "data"))
    config.samples.every = 3
    run.train(config, folder / "run")
    return folder


def params_of(workdir):
    return jax.device_get(open_run(workdir).params)


def assert_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_a_run_leaves_metrics_checkpoints_and_a_tokenizer(trained):
    lines = log.read(trained / "run" / "metrics.jsonl")
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert {"loss", "rewards/accuracies", "grad_norm", "learning_rate", "loss/chosen_nll"} <= set(lines[0])
    kept = sorted(int(p.name) for p in (trained / "run" / "checkpoints").iterdir() if p.name.isdigit())
    assert kept == [4, 6], "the newest two"
    (events,) = (trained / "run" / "tensorboard").iterdir()
    written = events.read_bytes()
    assert b"rewards/accuracies" in written and b"samples/3" in written and b"describe the image." in written


def test_a_resumed_run_equals_one_that_never_stopped(trained, tmp_path):
    path = trained / "data" / "pairs.jsonl"
    half, whole = pairs.config(path), pairs.config(path)
    half.steps = 3
    # The schedule must not depend on where the run is cut.
    half.optimizer.schedule = whole.optimizer.schedule = "constant"
    half.optimizer.warmup = whole.optimizer.warmup = 0.0
    run.train(whole, tmp_path / "whole")
    run.train(half, tmp_path / "parts")
    run.train(whole, tmp_path / "parts")
    assert_equal(params_of(tmp_path / "whole"), params_of(tmp_path / "parts"))
    assert log.read(tmp_path / "whole" / "metrics.jsonl") == log.read(tmp_path / "parts" / "metrics.jsonl")


def test_what_a_loss_remembers_is_resumed_too(trained, tmp_path):
    config = pairs.config(trained / "data" / "pairs.jsonl", init_from=str(trained / "run"))
    config.loss, config.steps, config.optimizer.schedule = (dict(name="bco"),), 4, "constant"
    run.train(config, tmp_path / "whole")
    config.steps = 2
    run.train(config, tmp_path / "parts")
    config.steps = 4
    run.train(config, tmp_path / "parts")
    assert_equal(params_of(tmp_path / "whole"), params_of(tmp_path / "parts"))
    whole, parts = (log.read(tmp_path / name / "metrics.jsonl") for name in ("whole", "parts"))
    assert whole == parts
    # Forgotten, the mean of the third step would be of its own rewards alone.
    own = (whole[2]["rewards/chosen"] + whole[2]["rewards/rejected"]) / 2
    assert abs(whole[2]["delta"] - own) > 0.1 * abs(own) > 0


def test_a_run_goes_on_on_another_mesh(trained, tmp_path):
    path = trained / "data" / "pairs.jsonl"
    config = pairs.config(path)
    config.steps, config.optimizer.schedule, config.optimizer.warmup = 3, "constant", 0.0
    run.train(config, tmp_path)
    config.steps, config.mesh.data, config.mesh.fsdp, config.mesh.tensor = 6, 4, 2, 1
    run.train(config, tmp_path)
    config.mesh.data = 1
    config.mesh.fsdp = -1
    run.train(config, tmp_path / "straight")
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4),
        params_of(tmp_path),
        params_of(tmp_path / "straight"),
    )


def test_another_config_in_the_same_workdir_is_refused(trained):
    config = pairs.config(trained / "data" / "pairs.jsonl")
    config.loss[0]["beta"] = 0.3
    config.steps = 8
    with pytest.raises(ValueError, match=r"holds a run by another config: loss .*0\.1.*0\.3"):
        run.train(config, trained / "run")


def test_a_run_starts_from_another_run(trained, tmp_path):
    config = pairs.config(trained / "data" / "pairs.jsonl", init_from=str(trained / "run"))
    config.steps, config.optimizer.learning_rate = 1, 0.0
    config.model.decoder.dim = 999  # the model of `init_from` is what counts
    run.train(config, tmp_path)
    assert_equal(params_of(trained / "run"), params_of(tmp_path))
    line = log.read(tmp_path / "metrics.jsonl")[0]
    np.testing.assert_allclose(line["loss/dpo"], np.log(2), rtol=1e-5)  # policy = reference


@pytest.mark.parametrize("what", ["missing", "truncated", "not json"])
def test_a_broken_record_is_skipped_counted_and_named(tmp_path, trained, what):
    path = pairs.write(tmp_path / "data")
    lines = path.read_text().splitlines()
    if what == "missing":
        (path.parent / "3.png").unlink()
    elif what == "truncated":
        (path.parent / "3.png").write_bytes((path.parent / "3.png").read_bytes()[:60])
    else:
        lines[3] = lines[3][:-5]
        path.write_text("\n".join(lines))
    config = pairs.config(path, init_from=str(trained / "run"))
    config.steps = 4  # more than an epoch
    config.data.max_reject_fraction = 0.05
    run.train(config, tmp_path / "run")
    (reject,) = map(json.loads, (tmp_path / "run" / "rejects.jsonl").read_text().splitlines())
    assert "pairs.jsonl" in reject["where"] and "4" in reject["where"], "the fourth line"
    assert {"missing": "3.png", "truncated": "3.png", "not json": "JSON"}[what] in reject["reason"]

    config.data.max_reject_fraction = 0.0
    with pytest.raises(TooManyRejects, match=r"data\.max_reject_fraction"):
        run.train(config, tmp_path / "strict")


def test_a_folder_that_is_no_run_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=f"{tmp_path} is not the workdir of a run"):
        open_run(tmp_path)


def test_answers_come_with_their_records_and_repeat(trained):
    opened = open_run(trained / "run")
    image = str(trained / "data" / "0.png")
    records = [Record(str(i), "describe the image.", (image,)) for i in range(5)]
    how = dict(completions=3, max_tokens=8, batch_size=8, seed=1)
    found = list(ask(opened, records, **how))
    assert [record.id for record, _ in found] == ["0", "1", "2", "3", "4"]
    assert all(len(words) == 3 for _, words in found)
    assert found == list(ask(opened, records, **how))


def test_blind_answers_do_not_depend_on_the_picture(trained):
    opened = open_run(trained / "run")
    records = [Record(str(i), "describe the image.", (str(trained / "data" / f"{i}.png"),)) for i in range(8)]
    seen, blind = (
        [words for _, words in ask(opened, records, temperature=0.0, max_tokens=8, batch_size=8, blind=b)]
        for b in (False, True)
    )
    assert len(set(map(tuple, blind))) == 1 < len(set(map(tuple, seen)))
