"""The README's example of a method of one's own, as it stands there."""

import importlib
import importlib.util
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from align_jax import run
from align_jax.losses import Objective
from align_jax.train import log
from align_jax.types import PreferenceBatch
from tests import pairs
from tests.losses import cases

README = Path(__file__).parent.parent / "README.md"


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """A folder on the Python path with the two files of the README."""
    section = README.read_text(encoding="utf-8").split("## A method of your own")[1].split("\n## ")[0]
    blocks = re.findall(r"```python\n# (\S+)\n(.*?)```", section, re.DOTALL)
    assert [name for name, _ in blocks] == ["my_lab/dpop.py", "configs/dpop.py"]
    for name, code in blocks:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    return tmp_path


def test_it_trains(lab):
    spec = importlib.util.spec_from_file_location("dpop_config", lab / "configs" / "dpop.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = pairs.small(module.get_config(), pairs.write(lab / "data"))
    config.steps = 2
    run.train(config, lab / "run")
    first, second = log.read(lab / "run" / "metrics.jsonl")
    assert first["loss"] == pytest.approx(np.log(2), rel=1e-5), "policy and reference are one"
    assert first["grad_norm"] > 0 and np.isfinite(second["loss"])


def test_its_loss_is_that_of_the_paper(lab):
    objective = Objective.build({"name": "my_lab.dpop", "beta": 0.5, "lam": 2.0})
    mask, weight = cases.mask(), cases.weight()
    policy, reference = cases.logps(mask, 1), cases.logps(mask, 2)
    batch = PreferenceBatch(None, jnp.asarray(weight))

    def ours(policy):
        (mean,), _, _ = objective(cases.pair(policy, mask), cases.pair(reference, mask), batch, {})
        return mean.value

    def theirs(policy):
        chosen, rejected = policy.sum(-1) - np.float64(reference).sum(-1)
        margin = chosen - rejected - 2.0 * np.maximum(0, -chosen)
        return np.average(np.log1p(np.exp(-0.5 * margin)), weights=weight)

    assert jax.tree.leaves(objective.memory()) == []
    cases.check(ours, theirs, policy, mask)
