"""Optimizers by the numbers that papers report."""

from collections.abc import Callable

import jax
import optax
from optax.contrib import MuonDimensionNumbers, muon

from align_jax.sharding import path_name

MatrixAxes = Callable[[str, jax.Array], tuple[tuple[int, ...], tuple[int, ...]] | None]


def build(
    *,
    name: str = "adamw",
    learning_rate: float,
    steps: int,
    warmup: float = 0.1,
    schedule: str = "cosine",
    b1: float = 0.9,
    b2: float = 0.999,
    weight_decay: float = 0.0,
    clip_norm: float = 1.0,
    muon_learning_rate: float = 0.02,
    matrix_axes: MatrixAxes | None = None,
) -> tuple[optax.GradientTransformation, optax.Schedule]:
    """An optimizer behind clipping by global norm, and its learning-rate schedule.

    Args:
      name: "adamw", or "muon" (https://kellerjordan.github.io/posts/muon/) for the matrices of layers and AdamW for
        the rest: it needs about half of the steps of AdamW to train a small model from scratch.
      learning_rate: at the peak.
      steps: length of the run.
      warmup: share of the run in which the rate rises linearly.
      schedule: "cosine" or "linear" down to 0, or "constant".
      b1: decay of AdamW's first moment.
      b2: decay of its second moment.
      weight_decay: on everything but norms and biases, as in transformers.
      clip_norm: of the whole gradient.
      muon_learning_rate: at the peak, for what Muon updates; follows the same schedule.
      matrix_axes: for Muon: (path, parameter) -> its input and output axes, or None if it is for AdamW.

    Raises:
      ValueError: unknown optimizer or schedule.
    """
    rate = _schedule(learning_rate, steps, warmup, schedule)
    if name == "adamw":
        inner = optax.adamw(rate, b1=b1, b2=b2, weight_decay=weight_decay, mask=_decays)
    elif name == "muon":

        def dimension_numbers(params):
            def of(path, param):
                axes = matrix_axes(path_name(path), param)
                return None if axes is None else MuonDimensionNumbers(*axes)

            return jax.tree_util.tree_map_with_path(of, params)

        inner = muon(
            _schedule(muon_learning_rate, steps, warmup, schedule),
            adam_learning_rate=rate,
            adam_b1=b1,
            adam_b2=b2,
            weight_decay=weight_decay,
            weight_decay_mask=_decays,
            muon_weight_dimension_numbers=dimension_numbers,
        )
    else:
        raise ValueError(f'optimizer.name is "adamw" or "muon", not {name!r}')
    return optax.chain(optax.clip_by_global_norm(clip_norm), inner), rate


def _schedule(peak: float, steps: int, warmup: float, shape: str) -> optax.Schedule:
    warmup_steps = round(warmup * steps)
    rest = max(steps - warmup_steps, 1)
    shapes = {
        "cosine": lambda: optax.cosine_decay_schedule(peak, rest),
        "linear": lambda: optax.linear_schedule(peak, 0.0, rest),
        "constant": lambda: optax.constant_schedule(peak),
    }
    if shape not in shapes:
        raise ValueError(f"optimizer.schedule is one of {', '.join(shapes)}, not {shape!r}")
    # Step 0 already learns: a rate of exactly 0 would waste it.
    rise = optax.linear_schedule(peak / (warmup_steps + 1), peak, warmup_steps)
    return optax.join_schedules([rise, shapes[shape]()], [warmup_steps])


def _decays(params):
    """By name: norms and biases of stacked layers have as many axes as matrices."""
    return jax.tree_util.tree_map_with_path(lambda path, _: not path_name(path).endswith(("scale", "bias")), params)
