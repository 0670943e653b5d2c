"""Preference optimization of a CLIP on disk, from pictures and labels to a checkpoint."""

import jax
import numpy as np
import pytest

from align_jax import exchange, run
from align_jax.ask import open_run
from align_jax.models import pretrained
from align_jax.train import log
from configs import contrastive_po
from tests import contrastive


def config(folder):
    settings = contrastive_po.get_config()
    settings.update(steps=2, batch_size=8, log_every=1, init_from=str(folder / "clip"))
    settings.data.source.path = str(folder / "data" / "attacked.jsonl")
    settings.data.completion_length = contrastive.CONTEXT - 1
    settings.data.max_reject_fraction = 0.0
    settings.optimizer.update(learning_rate=1e-2, schedule="constant", warmup=0.0)
    return settings


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A CLIP, and two steps of DPO from it."""
    folder = tmp_path_factory.mktemp("clip")
    contrastive.checkpoint(folder)
    contrastive.write(folder / "data")
    run.train(config(folder), folder / "run")
    return folder


def test_it_starts_at_the_reference_and_moves_every_part(folder):
    first, second = log.read(folder / "run" / "metrics.jsonl")
    assert first["loss"] == pytest.approx(np.log(2), rel=1e-5) and first["kl"] == pytest.approx(0, abs=1e-6)
    assert second["loss"] < first["loss"] and second["kl"] > 100 * abs(first["kl"]) and second["rewards/margins"] > 0
    before = jax.device_get(pretrained.from_pretrained(folder / "clip").params)
    after = jax.device_get(open_run(folder / "run").params)
    moved = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), before, after)
    assert min(jax.tree.leaves(moved)) > 0, moved


def test_what_it_has_trained_goes_back_to_hugging_face(folder, tmp_path):
    exchange.to_published(folder / "run", tmp_path / "out")
    again, trained = pretrained.from_pretrained(tmp_path / "out").params, open_run(folder / "run").params
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(again), jax.device_get(trained))
