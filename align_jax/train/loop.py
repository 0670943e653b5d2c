"""The training loop: evaluate, save, update, log."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from rich.console import Console

from align_jax.train.checkpoint import Checkpointer
from align_jax.train.log import MetricLog, ProgressLine
from align_jax.train.state import TrainState
from align_jax.types import Batch, Metrics, Params


def train(
    update: Callable[[TrainState, Params | None, Batch], tuple[TrainState, Metrics]],
    state: TrainState,
    reference: Params | None,
    data: Iterator[Batch],
    *,
    start: int,
    steps: int,
    to_mesh: Callable[[Batch], Batch],
    checkpointer: Checkpointer,
    config: Mapping[str, Any],
    log: MetricLog,
    log_every: int,
    learning_rate: Callable[[int], float],
    evaluate: Callable[[int, Params], None] | None = None,
    evaluate_every: int = 0,
    name: str = "train",
    console: Console | None = None,
) -> TrainState:
    """Trains from step `start` to `steps` and saves the last one.

    Args:
      update: the jitted step; donates its state.
      state: at step `start`.
      reference: parameters of the reference model, where the loss needs one.
      data: host batches, at the place that belongs to `start`.
      start: steps done already.
      steps: steps to be done in all.
      to_mesh: lays a host batch on the mesh.
      checkpointer: decides which steps are saved.
      config: stored with every checkpoint.
      log: takes the metrics of every `log_every`-th step and of the last.
      log_every: in steps.
      learning_rate: schedule, to be logged.
      evaluate: called with (step, params) before every `evaluate_every`-th step.
      evaluate_every: in steps; 0 never evaluates.
      name: on the progress line.
      console: where progress is shown.

    Raises:
      FloatingPointError: the loss is not finite; names the step.
    """
    pending = None
    with ProgressLine(name, steps, start, console) as line:
        for step in range(start, steps):
            if evaluate and evaluate_every and step % evaluate_every == 0:
                evaluate(step, state.params)
            if step > start and checkpointer.due(step):
                # What is logged up to a checkpoint must be on disk before it: a run that goes on from there will not
                # compute it again.
                pending = _report(pending, log)
                checkpointer.save(step, state, data, config)
            state, metrics = update(state, reference, to_mesh(next(data)))
            # Read one step late, while the device is busy with the next: nothing in the loop waits for it.
            pending = _report(pending, log)
            if (step + 1) % log_every == 0 or step + 1 == steps:
                pending = step + 1, metrics, float(learning_rate(step))
            line.advance(_news(log.latest))
        _report(pending, log)
    checkpointer.save(steps, state, data, config)
    return state


def _report(pending: tuple[int, Metrics, float] | None, log: MetricLog) -> None:
    if pending is None:
        return
    step, metrics, rate = pending
    values = {name: float(mean.value) for name, mean in jax.device_get(metrics).items()} | {"learning_rate": rate}
    if not np.isfinite(values["loss"]):
        raise FloatingPointError(f"the loss is {values['loss']} at step {step}; metrics: {values}")
    log.scalars(step, values)


def _news(values: Mapping[str, float]) -> str:
    shown = {"loss": "loss", "rewards/accuracies": "accuracy", "rewards/margins": "margin"}
    return "  ".join(f"{text} {values[name]:.3f}" for name, text in shown.items() if name in values)
