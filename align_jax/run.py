"""Whole runs, for scripts and notebooks: train by a config, open what was trained, ask it."""

import dataclasses
import functools
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict
from rich.console import Console

from align_jax import build, sharding
from align_jax.data.pipeline import batches, in_order
from align_jax.data.records import Record, RecordError
from align_jax.data.rejects import Rejects
from align_jax.losses import Objective
from align_jax.models import mllm
from align_jax.rollout.answer import answers
from align_jax.rollout.sampler import sample
from align_jax.train import checkpoint, loop, optimizer, reference, state
from align_jax.train.log import MetricLog
from align_jax.train.step import make_update
from align_jax.types import Example, Params, PromptTree

# What may change when a run goes on; anything else would make its second half another experiment.
MAY_CHANGE = ("steps", "checkpoint", "log_every", "samples", "mesh", "data.workers", "score_chunk", "microbatches")


def train(config: ConfigDict, workdir: str | Path, *, console: Console | None = None, name: str = "train") -> None:
    """Trains by a config; goes on where the workdir's newest checkpoint stands.

    Args:
      config: see configs/common.py.
      workdir: gets config.json, tokenizer, checkpoints, metrics.jsonl, tensorboard and rejects.jsonl.
      console: where progress is shown.
      name: on the progress line.

    Raises:
      ValueError: something in the config is wrong, or the workdir holds a run by another config.
      TooManyRejects: more records are broken than `data.max_reject_fraction` allows.
    """
    workdir = Path(workdir)
    objective = Objective.build(config.loss)
    mesh = build.mesh(config)
    with jax.set_mesh(mesh):
        source = build.source(config)
        model = _open_or_make(config, workdir, source)
        checkpointer = checkpoint.Checkpointer(workdir, **config.checkpoint.to_dict())
        saved = {**config.to_dict(), "model": dataclasses.asdict(model.sizes)} if False else _resolved(config, model)
        data = iter(_train_batches(config, workdir, source, objective, model))
        tx, learning_rate = optimizer.adamw(steps=config.steps, **config.optimizer.to_dict())
        tree = build.packer(config, model, 1)((), ("chosen",))
        params = _start_params(config, model, tree, mesh)
        frozen = tuple(config.frozen)
        current = state.create(params, tx, frozen)
        where = state.state_shardings(mesh, current, mllm.rules(model.sizes), frozen)
        current = jax.device_put(current, where)
        reference_params = reference.build(config.reference, params)
        start = checkpointer.latest() or 0
        if start:
            current = checkpointer.restore(current, data)
        update = make_update(
            model.policy, objective, tx, frozen=frozen, microbatches=config.microbatches, chunk=config.score_chunk
        )
        log = MetricLog(workdir, start)
        loop.train(
            jax.jit(update, out_shardings=(where, None), donate_argnums=0),
            current,
            reference_params,
            data,
            start=start,
            steps=config.steps,
            to_mesh=functools.partial(sharding.to_mesh, mesh),
            checkpointer=checkpointer,
            config=saved,
            log=log,
            log_every=config.log_every,
            learning_rate=learning_rate,
            evaluate=_sampler(config, model, mesh, source, log) if config.samples.every else None,
            evaluate_every=config.samples.every,
            name=name,
            console=console,
        )
        checkpointer.close()
        log.close()
        data.close()
