"""Checkpoints of a run: parameters, optimizer, data iterator and config, in one directory of steps."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grain
import jax
import numpy as np
import orbax.checkpoint as ocp

from align_jax.train.state import TrainState
from align_jax.types import Params


class CheckpointError(ValueError):
    """A directory is not a checkpoint, or does not fit."""


def directory(workdir: str | Path) -> Path:
    """Where a run keeps its checkpoints."""
    return Path(workdir).absolute() / "checkpoints"


class Checkpointer:
    """Saves in the background, keeps the newest few, and restores the newest."""

    def __init__(self, workdir: str | Path, *, keep: int = 2, save_every: int = 100):
        self.save_every = save_every
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, enable_async_checkpointing=True)
        self.manager = ocp.CheckpointManager(directory(workdir), options=options)

    def latest(self) -> int | None:
        """Newest step that was saved whole, or None."""
        return self.manager.latest_step()

    def due(self, step: int) -> bool:
        """Whether a checkpoint of this step is wanted."""
        return step % self.save_every == 0

    def save(self, step: int, state: TrainState, data: Any, config: Mapping[str, Any]) -> None:
        """Saves a step, unless it is there; returns before the files are written."""
        if self.latest() == step:
            return
        items = {
            "params": ocp.args.StandardSave(state.params),
            "optimizer": ocp.args.StandardSave(state.opt_state),
            "data": grain.checkpoint.CheckpointSave(data),
            "config": ocp.args.JsonSave(dict(config)),
        }
        if state.memory:
            items["memory"] = ocp.args.StandardSave(state.memory)
        self.manager.save(step, args=ocp.args.Composite(**items), force=True)

    def restore(self, step: int, like: TrainState, data: Any) -> TrainState:
        """The state of a step, laid out like `like` (shapes with shardings); moves `data` to its place."""
        items = {
            "params": ocp.args.StandardRestore(like.params),
            "optimizer": ocp.args.StandardRestore(like.opt_state),
            "data": grain.checkpoint.CheckpointRestore(data),
        }
        if like.memory:
            items["memory"] = ocp.args.StandardRestore(like.memory)
        restored = self.manager.restore(step, args=ocp.args.Composite(**items))
        step = jax.device_put(np.int32(step), like.step.sharding)
        return TrainState(step, restored["params"], restored["optimizer"], restored["memory"] if like.memory else {})

    def close(self) -> None:
        """Waits for what is still being written."""
        self.manager.wait_until_finished()
        self.manager.close()


def load_params(workdir: str | Path, like: Params, step: int | None = None) -> Params:
    """Only the parameters of a run, laid out like `like` (shapes with shardings), whatever mesh they were saved from.

    Raises:
      CheckpointError: no checkpoint there, or one of another model.
    """
    return load_tree(_step_path(workdir, step) / "params", like)


def save_start(workdir: str | Path, params: Params, config: Mapping[str, Any]) -> None:
    """Writes step 0 of a run that has not begun: parameters and config alone, to be read by others."""
    with ocp.CheckpointManager(directory(workdir)) as manager:
        items = {"params": ocp.args.StandardSave(params), "config": ocp.args.JsonSave(dict(config))}
        manager.save(0, args=ocp.args.Composite(**items))
        manager.wait_until_finished()


def save_tree(path: str | Path, tree: Any) -> None:
    """Writes a tree of arrays into a new folder, and waits for it."""
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(Path(path).absolute(), tree, force=True)


def load_tree(path: str | Path, like: Any) -> Any:
    """Reads a tree of arrays, laid out like `like`.

    Raises:
      CheckpointError: nothing there, or another tree.
    """
    path = Path(path).absolute()
    if not path.is_dir():
        raise CheckpointError(f"{path} does not exist: it should be a folder with saved parameters")
    try:
        with ocp.StandardCheckpointer() as checkpointer:
            return checkpointer.restore(path, like)
    except (ValueError, FileNotFoundError) as error:
        raise CheckpointError(f"{path} holds no parameters of this model: {error}") from None


def load_config(workdir: str | Path, step: int | None = None) -> dict[str, Any]:
    """The config that a run was made with.

    Raises:
      CheckpointError: no checkpoint there.
    """
    return json.loads(next((_step_path(workdir, step) / "config").iterdir()).read_text())


def _step_path(workdir: str | Path, step: int | None) -> Path:
    path = directory(workdir)
    steps = sorted(int(p.name) for p in path.iterdir() if p.name.isdigit()) if path.is_dir() else []
    if not steps:
        raise CheckpointError(f"{workdir} is not the workdir of a run: it has no checkpoints/<step> folder")
    if step is not None and step not in steps:
        raise CheckpointError(f"{workdir} has no checkpoint of step {step}; it has {steps}")
    return path / str(steps[-1] if step is None else step)
