"""Which architecture a Hugging Face folder holds: its config.json, and what only its weights say."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from align_jax.models import families
from align_jax.models.families.base import Family
from align_jax.models.stored import REFUSED, CheckpointError, Stored, has_weights

# What a model needs besides its weights; carried along on export.
CARRIED = ("*.json", "*.jinja", "*.model", "*.txt", "*.tiktoken")
HEAD, EMBEDDINGS = "lm_head.weight", "embed_tokens.weight"  # how the names of these end, whatever the family
ROWS = 4096  # of a matrix that are compared at a time


def read_config(folder: str | Path) -> dict[str, Any]:
    """config.json of a checkpoint, with the defaults that transformers fills in.

    Raises:
      CheckpointError: no such file, not the JSON of a config, a `model_type` that no family opens, or quantised
        weights.
    """
    path = Path(folder) / "config.json"
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(stored, dict):
            raise ValueError("it holds no settings")
    except FileNotFoundError:
        raise CheckpointError(f"{folder} is not a Hugging Face checkpoint: it has no config.json") from None
    except ValueError as error:
        raise CheckpointError(f"{path} is not the JSON of a config: {error}") from None
    if stored.get("model_type") not in families.names():
        raise CheckpointError(
            f"{path} is of model_type {stored.get('model_type')!r}, which no family opens; there are: "
            f"{', '.join(families.names())}"
        )
    if how := stored.get("quantization_config"):
        raise CheckpointError(f"{path}: the weights are quantised ({how.get('quant_method')}); {REFUSED}")
    from transformers import AutoConfig  # slow to import, and models that are made here do without

    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True).to_dict()
    except Exception as error:  # KeyError, TypeError, and classes of its own
        raise CheckpointError(f"{path}: transformers cannot read it ({error})") from error


def open_family(folder: str | Path) -> Family:
    """The architecture of a checkpoint, without its parameters.

    Raises:
      CheckpointError: see `read_config`.
      ValueError: a setting that we cannot run.
    """
    hf = read_config(folder)
    family = families.build(hf)
    if not has_weights(folder) or (tied := _tied(Stored(folder), family)) == family.sizes.tied:
        return family
    return families.build(with_tie(hf, tied))


def _tied(stored: Stored, family: Family) -> bool | None:
    """Whether the head is the embeddings. Published configs and files disagree; as in transformers, files decide."""
    if family.sizes.tied is None:
        return None
    heads = [name for name in stored.names if name.endswith(HEAD)]
    embeddings = [name for name in stored.names if name.endswith(EMBEDDINGS)]
    if not heads or len(embeddings) != 1:
        return True if not heads else family.sizes.tied
    return family.sizes.tied and _equal(stored, heads[0], embeddings[0])


def with_tie(hf: Mapping[str, Any], tied: bool | None) -> dict[str, Any]:
    """A config that says so in both of the places where it may be said; None: as it is."""
    if tied is None:
        return dict(hf)
    changed = {**hf, "tie_word_embeddings": tied}
    if hf.get("text_config"):  # some text configs are tied unless they say otherwise
        changed["text_config"] = {**hf["text_config"], "tie_word_embeddings": tied}
    return changed


def carry(source: str | Path, target: str | Path) -> None:
    """Copies what a model needs besides its weights, and into the config what only the weights say.

    Raises:
      CheckpointError, ValueError: see `open_family`.
    """
    Path(target).mkdir(parents=True, exist_ok=True)
    for pattern in CARRIED:
        for path in Path(source).glob(pattern):
            if not path.name.endswith(".index.json"):
                shutil.copy(path, target)
    if has_weights(source) and (family := open_family(source)) != families.build(read_config(source)):
        write_config(target, with_tie(stored_config(target), family.sizes.tied))


def stored_config(folder: str | Path) -> dict[str, Any]:
    return json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))


def write_config(folder: str | Path, config: Mapping[str, Any]) -> None:
    (Path(folder) / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _equal(stored: Stored, a: str, b: str) -> bool:
    """Whether two tensors hold the same values."""
    if stored.shape(a) != stored.shape(b):
        return False
    rows, columns = stored.shape(a)
    blocks = [(slice(i, min(i + ROWS, rows)), slice(0, columns)) for i in range(0, rows, ROWS)]
    return all(np.array_equal(stored.read(a, *block), stored.read(b, *block)) for block in blocks)
