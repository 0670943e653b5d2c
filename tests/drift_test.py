import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from align_jax import drift, run, sharding
from align_jax.ask import ask, open_run
from align_jax.data.sources import build as open_source
from align_jax.types import PreferenceBatch
from tests import pairs

TOKENS = 12


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run, what it became after six steps on pairs, and these pairs."""
    folder = tmp_path_factory.mktemp("drift")
    path = pairs.write(folder / "data", count=16)
    config = pairs.config(path)
    config.steps = 1
    run.train(config, folder / "before")
    config.steps, config.init_from, config.optimizer.learning_rate = 6, str(folder / "before"), 3e-2
    run.train(config, folder / "after")
    mesh, source = sharding.one_device(), open_source("jsonl", path=str(path))
    before, after = (open_run(folder / name, mesh) for name in ("before", "after"))
    return before, after, [source[i] for i in range(len(source))]


def log_probs(trained, records):
    """Next-token log-probabilities [n, 2, R, V] of both answers, and their tree: all logits at once."""
    model = trained.model
    encode, packer = model.encode(TOKENS, reads=PreferenceBatch.reads), model.packer(len(records), TOKENS)
    tree = jax.tree.map(jnp.asarray, PreferenceBatch.pack([encode(r) for r in records], packer).tree)
    return np.float64(
        jax.nn.log_softmax(model.policy.unembed(trained.params, model.policy.hidden(trained.params, tree)))
    ), tree


def test_a_model_has_not_moved_from_itself(runs):
    before, _, records = runs
    assert drift.divergence(before, before, records, max_tokens=TOKENS) == pytest.approx(0, abs=1e-5)
    assert drift.displacement(before, before, records, max_tokens=TOKENS) == {"chosen": 0.0, "rejected": 0.0}


def test_displacement_is_the_mean_change_of_whole_answers(runs):
    before, after, records = runs
    found = drift.displacement(after, before, records, max_tokens=TOKENS, batch_size=5)
    (new, tree), (old, _) = log_probs(after, records), log_probs(before, records)
    moved = np.take_along_axis(new - old, np.asarray(tree.targets)[..., None], -1)[..., 0] * np.asarray(tree.mask)
    np.testing.assert_allclose([found["chosen"], found["rejected"]], moved.sum(-1).mean(0), rtol=1e-4)
    assert abs(found["chosen"] - found["rejected"]) > 0.1


def test_divergence_is_taken_on_the_models_own_answers_from_the_model_to_the_reference(runs):
    before, after, records = runs
    found = drift.divergence(after, before, records, max_tokens=TOKENS, seed=3, batch_size=8)
    words = [w[0] for _, w in ask(after, records, max_tokens=TOKENS, seed=3, batch_size=8)]
    said = [dataclasses.replace(r, chosen=w, rejected=w) for r, w in zip(records, words, strict=True)]
    (new, tree), (old, _) = log_probs(after, said), log_probs(before, said)
    kl = ((np.exp(new) * (new - old)).sum(-1) * np.asarray(tree.mask))[:, 0].sum(-1).mean()
    other = ((np.exp(old) * (old - new)).sum(-1) * np.asarray(tree.mask))[:, 0].sum(-1).mean()
    assert found == pytest.approx(kl, rel=1e-4) and abs(kl - other) > 1e-2 * kl
