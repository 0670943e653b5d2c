"""A training run, from a config to a workdir."""

import dataclasses
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict
from rich.console import Console

from align_jax import build, sharding
from align_jax.ask import Trained, ask
from align_jax.data.media import read_image
from align_jax.data.pipeline import batches
from align_jax.data.records import Source
from align_jax.data.rejects import Rejects
from align_jax.data.templates import ChatTemplate
from align_jax.losses import Objective
from align_jax.models import mllm, pretrained
from align_jax.train import checkpoint, loop, optimizer, reference, state
from align_jax.train.log import MetricLog
from align_jax.train.step import make_update
from align_jax.types import Params, PreferenceBatch, TwoSidedBatch

# What may change when a run goes on; with anything else changed, its second half would be another experiment.
MAY_CHANGE = (
    "steps",
    "checkpoint",
    "log_every",
    "samples",
    "mesh",
    "score_chunk",
    "microbatches",
    "data.workers",
    "compute.remat",
)


def train(config: ConfigDict, workdir: str | Path, *, console: Console | None = None, name: str = "train") -> None:
    """Trains by a config, or goes on from the workdir's newest checkpoint, bit for bit as if it had not stopped.

    Args:
      config: see configs/common.py.
      workdir: gets the tokenizer, checkpoints/, metrics.jsonl, tensorboard/ and rejects.jsonl.
      console: where progress is shown.
      name: on the progress line.

    Raises:
      ValueError: something in the config is wrong, or the workdir holds a run by another config.
      FileNotFoundError: a file that the config names is missing.
      TooManyRejects: more records are broken than `data.max_reject_fraction` allows.
      FloatingPointError: the loss is not finite.
    """
    workdir, console = Path(workdir), console or Console()
    objective = _objective(config)
    if objective.needs_reference and config.reference == "none":
        raise ValueError(f"{', '.join(objective.names)} needs a reference: set config.reference to 'frozen'")
    mesh, source, settings = build.mesh(config), build.source(config), build.inherit(config)
    with jax.set_mesh(mesh):
        checkpointer = checkpoint.Checkpointer(workdir, **config.checkpoint.to_dict())
        start = checkpointer.latest() or 0
        if start:
            _check_same(settings, checkpoint.load_config(workdir), workdir)
        model = _model(config, workdir if start else config.init_from, settings, source)
        model.save(workdir)
        frozen = (*config.frozen, *model.sizes.idle)
        tx, learning_rate = optimizer.build(
            steps=config.steps, matrix_axes=mllm.matrix_axes, **config.optimizer.to_dict()
        )
        create = functools.partial(state.create, tx=tx, frozen=frozen, memory=objective.memory())
        shapes = jax.eval_shape(create, build.param_shapes(model))
        where = state.state_shardings(mesh, shapes, build.rules(model), frozen)

        rejects = Rejects(workdir / "rejects.jsonl", int(config.data.max_reject_fraction * len(source)))
        data = _batches(config, model, objective, source, rejects)
        params = _start_params(config, model, where.params) if not start or objective.needs_reference else None
        reference_params = reference.build(config.reference, params) if objective.needs_reference else None
        if start:
            current = checkpointer.restore(start, sharding.on(shapes, where), data)
            console.print(f"{workdir}: goes on at step {start}", soft_wrap=True)
        else:
            current = jax.device_put(create(params), where)
        del params

        update = make_update(
            model.policy, objective, tx, frozen=frozen, microbatches=config.microbatches, chunk=config.score_chunk
        )
        log = MetricLog(workdir, start)
        try:
            loop.train(
                jax.jit(update, out_shardings=(where, None), donate_argnums=0),
                current,
                reference_params,
                data,
                start=start,
                steps=config.steps,
                to_mesh=functools.partial(sharding.to_mesh, mesh),
                checkpointer=checkpointer,
                config=settings,
                log=log,
                log_every=config.log_every,
                learning_rate=learning_rate,
                evaluate=functools.partial(_log_samples, config, model, mesh, source, log),
                evaluate_every=config.samples.every,
                name=name,
                console=console,
            )
        finally:
            checkpointer.close()
            log.close()
            data.close()
        if rejects.count:
            console.print(rejects.summary(), style="yellow")


def _objective(config: ConfigDict) -> Objective:
    objective = Objective.build(config.loss)
    if not config.data.two_sided:
        return objective
    if objective.batch is not PreferenceBatch:
        raise ValueError(f"data.two_sided needs losses that read plain pairs; {', '.join(objective.names)} do not")
    return dataclasses.replace(objective, batch=TwoSidedBatch)


def _model(config: ConfigDict, folder: Path | str, settings: Mapping[str, Any], source: Source) -> build.Model:
    """The model of `folder`, a workdir or a published checkpoint, if there is one, or a new one."""
    for published in (Path(folder), Path(folder) / build.PUBLISHED) if folder else ():
        if build.is_published(published):
            return build.published_model(published, settings)
    if folder:
        return build.model(settings, ChatTemplate.load(folder))
    return build.new_model(config, build.texts(source))


def _batches(config: ConfigDict, model: build.Model, objective: Objective, source: Source, rejects: Rejects):
    """An iterator over this host's part of every batch."""
    rows, length = config.batch_size // jax.process_count(), config.data.completion_length
    dataset = batches(
        source,
        model.encode(
            length,
            reads=objective.batch.reads,
            views=build.views(config),
            two_sided=config.data.two_sided,
            seed=config.seed,
        ),
        objective.batch,
        model.packer(rows, length),
        rejects=rejects,
        batch_size=rows,
        seed=config.seed,
        workers=config.data.workers,
        shard=(jax.process_index(), jax.process_count()),
    )
    return iter(dataset)


def _start_params(config: ConfigDict, model: build.Model, where: Params) -> Params:
    """Parameters at step 0, laid out as `where` says."""
    if config.init_from and build.is_published(config.init_from):
        kind = config.compute.param_dtype
        return pretrained.from_pretrained(config.init_from, where, kind, model.family).params
    shapes = sharding.on(build.param_shapes(model), where)
    if config.init_from:
        return checkpoint.load_params(config.init_from, shapes)
    params = build.init_params(model, where, config.seed)
    if config.init_vision:
        params["vision"] = checkpoint.load_tree(config.init_vision, shapes["vision"])
    return params


def _check_same(new: Mapping[str, Any], old: Mapping[str, Any], workdir: Path) -> None:
    new, old = (_flat(json.loads(json.dumps(config))) for config in (new, old))
    changed = sorted(
        key
        for key in new.keys() | old.keys()
        if new.get(key) != old.get(key) and not any(f"{key}.".startswith(f"{may}.") for may in MAY_CHANGE)
    )
    if changed:
        differences = ", ".join(f"{key} was {old.get(key)!r} and is {new.get(key)!r}" for key in changed)
        raise ValueError(f"{workdir} holds a run by another config: {differences}. Choose another workdir")


def _flat(config: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(config, Mapping) or not config:
        return {prefix: config}
    parts = (_flat(value, f"{prefix}.{key}" if prefix else key) for key, value in config.items())
    return functools.reduce(dict.__or__, parts)


def _log_samples(config, model, mesh, source, log, step: int, params: Params) -> None:
    """The model's words on the first pictures of the source, into TensorBoard."""
    records = [source[i] for i in range(min(config.samples.count, len(source)))]
    trained = Trained(model, params, mesh)
    for i, (record, words) in enumerate(ask(trained, records, batch_size=len(records), temperature=0.0)):
        picture = read_image(record.images[0]) if record.images else np.zeros((1, 1, 3), np.uint8)
        log.picture(step, f"samples/{i}", picture, f"**{record.prompt}**\n\n{words[0]}\n\nchosen: {record.chosen}")
