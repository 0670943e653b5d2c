"""Who may import whom: read from the sources, lazy imports included. The table is the architecture."""

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent / "align_jax"
ANYWHERE = {"jax", "numpy"} | set(sys.stdlib_module_names)


class May(NamedTuple):
    """What a package may import, besides itself, jax, numpy and the standard library."""

    ours: set[str] = frozenset()  # "types", or "losses.base" for one module of a package; "*" is everything
    others: set[str] = frozenset()


TABLE = {
    "__init__": May(),
    "types": May(),
    "registry": May(),
    "sharding": May({"types"}),
    "scoring": May({"types"}),
    "losses": May({"types", "registry"}),
    "models": May({"types", "registry", "sharding"}, {"flax", "safetensors", "transformers"}),
    "data": May(
        {"types", "registry"},
        {
            "PIL",
            "absl",
            "easy_vqa",
            "grain",
            "pyarrow",
            "scipy",
            "soundfile",
            "tensorflow_datasets",
            "tokenizers",
            "transformers",
        },
    ),
    "preferences": May({"types", "registry", "data", "rollout", "scoring"}, {"PIL"}),
    "rollout": May({"types", "registry", "scoring"}),
    "train": May({"types", "losses.base", "scoring", "sharding"}, {"grain", "optax", "orbax", "rich", "tensorboardX"}),
    "evals": May(
        {"types", "registry", "scoring", "rollout"}, {"PIL", "jinja2", "markupsafe", "matplotlib", "rich", "scipy"}
    ),
    # Where the parts are put together, and the only places that see a config.
    "build": May({"*"}, {"absl", "ml_collections", "rich"}),
    "run": May({"*"}, {"absl", "ml_collections", "rich"}),
    # What can be done with a run, from records and words to numbers.
    "ask": May({"*"}),
    "drift": May({"*"}),
    "exchange": May({"*"}),
    "measure": May({"*"}, {"rich"}),
}


def imported(source: str, module: str) -> Iterator[tuple[int, str]]:
    """Line and absolute name of whatever `module` imports, at its top or anywhere inside.

    `from align_jax import sharding` gives "align_jax.sharding"; from elsewhere the module's name is enough.
    """
    package = module if module.endswith(".__init__") else module.rpartition(".")[0]
    package = package.removesuffix(".__init__")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            base = importlib.util.resolve_name(base, package) if node.level else base
            if base.split(".")[0] == "align_jax":
                yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, base


def breaches(root: Path) -> list[str]:
    """What a copy of the package at `root` imports and may not, as "file:line imports name"."""
    found = []
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        module = ".".join(("align_jax", *parts))
        for line, name in imported(path.read_text(encoding="utf-8"), module):
            if not allowed(parts[0], name):
                found.append(f"{'/'.join(parts)}.py:{line} imports {name}")
    return found


def allowed(package: str, name: str) -> bool:
    """Whether the table lets `package` import `name`; a package that the table lacks may import nothing."""
    may = TABLE.get(package, May())
    top, _, ours = name.partition(".")
    if top != "align_jax":
        return top in ANYWHERE | may.others
    return ours.split(".")[0] == package or any(
        permitted == "*" or f"{ours}.".startswith(f"{permitted}.") for permitted in may.ours
    )


def test_every_import_is_in_the_table():
    assert breaches(ROOT) == []


def test_the_table_names_exactly_what_there_is():
    there_is = {path.stem for path in ROOT.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert there_is == set(TABLE)


def test_only_models_may_see_flax_and_only_the_composing_modules_a_config():
    assert [name for name, may in TABLE.items() if "flax" in may.others] == ["models"]
    assert [name for name, may in TABLE.items() if "ml_collections" in may.others] == ["build", "run"]


@pytest.mark.parametrize(
    ("path", "source", "name"),
    [
        ("types.py", "from align_jax import registry", "align_jax.registry"),
        ("losses/dpo.py", "import align_jax.models.mllm", "align_jax.models.mllm"),
        ("losses/dpo.py", "from ..scoring import score", "align_jax.scoring.score"),
        ("losses/dpo.py", "from .. import scoring", "align_jax.scoring"),
        ("losses/__init__.py", "from ..train import state", "align_jax.train.state"),
        ("train/step.py", "from align_jax.losses import dpo", "align_jax.losses.dpo"),
        ("train/step.py", "from align_jax import losses", "align_jax.losses"),
        ("train/step.py", "import flax.linen as nn", "flax.linen"),
        ("train/step.py", "from ml_collections import ConfigDict", "ml_collections"),
        ("run.py", "from configs import common", "configs"),
        ("run.py", "import experiments.train", "experiments.train"),
        ("data/pack.py", "def f():\n    import flax", "flax"),
        ("data/pack.py", "def f():\n    from align_jax.train import loop", "align_jax.train.loop"),
        ("data/pack.py", "try:\n    import torch\nexcept ImportError:\n    torch = None", "torch"),
        ("newcomer.py", "from align_jax import types", "align_jax.types"),
    ],
)
def test_a_planted_breach_is_found(tmp_path, path, source, name):
    (tmp_path / path).parent.mkdir(exist_ok=True)
    (tmp_path / path).write_text(source)
    (found,) = breaches(tmp_path)
    assert found.startswith(f"{path}:") and found.endswith(f" imports {name}")


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("losses/dpo.py", "from .base import loss\nfrom align_jax.losses import base\nfrom ..types import Mean"),
        ("losses/__init__.py", "from . import base\nfrom .base import loss"),
        ("train/step.py", "from align_jax.losses.base import Objective\nimport jax.numpy as jnp, os.path"),
        ("train/step.py", "from align_jax.losses import base"),
        ("models/mllm.py", "import flax.linen as nn\nfrom align_jax.models import vit"),
        ("run.py", "from align_jax import build\nfrom align_jax.data.pipeline import batches"),
    ],
)
def test_what_the_table_permits_is_let_through(tmp_path, path, source):
    (tmp_path / path).parent.mkdir(exist_ok=True)
    (tmp_path / path).write_text(source)
    assert breaches(tmp_path) == []


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("align_jax.types", {"flax"}),
        ("align_jax.losses.dpo", {"flax"}),
        ("align_jax.data.pipeline", {"flax", "tensorflow"}),  # what every worker process imports
    ],
)
def test_importing_a_part_does_not_load_what_it_does_not_need(module, heavy):
    show = f"import sys, {module}; print(*sorted(set(sys.modules) & {heavy}))"
    done = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, check=True, cwd=ROOT.parent)
    assert done.stdout.split() == []
