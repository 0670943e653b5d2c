"""Optimizers by the numbers that papers report."""

import jax
import optax


def adamw(
    *,
    learning_rate: float,
    steps: int,
    warmup: float = 0.1,
    schedule: str = "cosine",
    b1: float = 0.9,
    b2: float = 0.999,
    weight_decay: float = 0.0,
    clip_norm: float = 1.0,
) -> tuple[optax.GradientTransformation, optax.Schedule]:
    """AdamW behind clipping by global norm, and its learning-rate schedule.

    Args:
      learning_rate: at the peak.
      steps: length of the run.
      warmup: share of the run in which the rate rises linearly from 0.
      schedule: "cosine" or "linear" down to 0, or "constant".
      b1: decay of the first moment.
      b2: decay of the second moment.
      weight_decay: on matrices only; norms and biases are spared.
      clip_norm: of the whole gradient.

    Raises:
      ValueError: unknown schedule.
    """
    warmup_steps = round(warmup * steps)
    rest = max(steps - warmup_steps, 1)
    shapes = {
        "cosine": lambda: optax.cosine_decay_schedule(learning_rate, rest),
        "linear": lambda: optax.linear_schedule(learning_rate, 0.0, rest),
        "constant": lambda: optax.constant_schedule(learning_rate),
    }
    if schedule not in shapes:
        raise ValueError(f"optimizer.schedule is one of {', '.join(shapes)}, not {schedule!r}")
    # Step 0 already learns: a rate of exactly 0 would waste it.
    rise = optax.linear_schedule(learning_rate / (warmup_steps + 1), learning_rate, warmup_steps)
    rate = optax.join_schedules([rise, shapes[schedule]()], [warmup_steps])

    def is_matrix(params):
        return jax.tree.map(lambda p: p.ndim > 1, params)

    return optax.chain(
        optax.clip_by_global_norm(clip_norm),
        optax.adamw(rate, b1=b1, b2=b2, weight_decay=weight_decay, mask=is_matrix),
    ), rate
