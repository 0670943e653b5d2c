"""Where a patch stands in its frame, as a vision tower is told: by rotation, and by a learned grid.

Shapes: B rows, S patches of a row.
"""

import jax
import jax.numpy as jnp

from align_jax.models.rope import Rope, rotary


def rotary_2d(place: jax.Array, head_dim: int, theta: float) -> tuple[jax.Array, jax.Array]:
    """Cosines and sines f32[B, S, head_dim / 2] for places i32[B, S, 2]: half of them turn by row, half by column."""
    cos, sin = rotary(Rope(theta), place[..., None], head_dim // 2)  # f32[B, S, 2, head_dim / 4]
    return cos.reshape(*place.shape[:2], -1), sin.reshape(*place.shape[:2], -1)


def interpolate(grid: jax.Array, place: jax.Array, size: jax.Array) -> jax.Array:
    """Bilinear values f32[B, S, dim] of a learned square grid [side**2, dim] whose corners are those of every frame.

    Args:
      grid: row by row.
      place: i32[B, S, 2] row and column of a patch.
      size: i32[B, S, 2] rows and columns of its frame.
    """
    side = round(grid.shape[0] ** 0.5)
    exact = place.astype(jnp.float32) * (side - 1) / jnp.maximum(size - 1, 1).astype(jnp.float32)
    low = jnp.floor(exact)
    part, low = exact - low, low.astype(jnp.int32)
    values = jnp.zeros((), jnp.float32)
    for corner in ((0, 0), (0, 1), (1, 0), (1, 1)):
        step = jnp.asarray(corner, jnp.int32)[None, None]
        row, column = jnp.unstack(jnp.clip(low + step, 0, side - 1), axis=-1)
        weight = jnp.where(step == 1, part, 1 - part).prod(-1, keepdims=True)
        values = values + grid[row * side + column].astype(jnp.float32) * weight
    return values
