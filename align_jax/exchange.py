"""Runs and Hugging Face folders, from one to the other."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from align_jax import build, sharding
from align_jax.ask import open_run
from align_jax.models import pretrained
from align_jax.models.stored import CheckpointError
from align_jax.train import checkpoint


def to_published(
    workdir: str | Path, folder: str | Path, *, step: int | None = None, dtype: str | None = None
) -> None:
    """Writes what a run has trained as a folder that transformers opens.

    Args:
      workdir: of a run that started from a published model.
      folder: to be made.
      step: of the checkpoint; the newest if not given.
      dtype: of the stored tensors; that of the checkpoint if not given.

    Raises:
      CheckpointError: no such run, one whose model was made here, or the folder exists.
    """
    if not build.is_published(Path(workdir) / build.PUBLISHED):
        raise CheckpointError(f"{workdir} holds a model that was made here: no architecture of transformers opens it")
    trained = open_run(workdir, step=step)
    like = Path(workdir) / build.PUBLISHED
    pretrained.save_pretrained(folder, trained.model.family, trained.params, like=like, dtype=dtype)


def from_published(folder: str | Path, workdir: str | Path, settings: Mapping[str, Any]) -> None:
    """Makes the workdir of a run at step 0 from a Hugging Face folder, for `init_from` and for asking.

    Args:
      folder: the published checkpoint.
      workdir: to be made.
      settings: a config: "compute" says in which dtype parameters are kept, "data" how long prompts may be.

    Raises:
      CheckpointError: the folder cannot be read, or the workdir has checkpoints already.
    """
    if checkpoint.directory(workdir).exists():
        raise CheckpointError(f"{workdir} has checkpoints already: choose another")
    model = build.published_model(folder, settings)
    where = build.param_shardings(model, sharding.make_mesh())
    params = pretrained.from_pretrained(folder, where, settings["compute"]["param_dtype"], model.family).params
    model.save(workdir)
    checkpoint.save_start(workdir, params, {**settings, "model": {}, "image": {}, "tokenizer": {}})
