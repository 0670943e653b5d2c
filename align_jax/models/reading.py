"""From a stored tensor to an array on the mesh: every device gets its part, and every part is read once."""

import math
from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import NamedSharding

from align_jax.models.stored import Stored
from align_jax.models.weights import Tensor, to_ours

STRIP = 16  # columns of a matrix that are copied at a time


def read(stored: Stored, name: str, tensor: Tensor, shape: Sequence[int], dtype, where: NamedSharding) -> jax.Array:
    """One tensor, as our parameter (of one layer), of which every device gets its part; each part is read once."""
    parts = {}

    def part(index: tuple[slice, ...]) -> np.ndarray:
        bounds = tuple(s.indices(n)[:2] for s, n in zip(index, shape, strict=True))
        if bounds not in parts:  # else another device keeps the same
            block = _their_block(tensor, shape, bounds)
            if block is None:
                ours = to_ours(tensor, stored.read(name), shape)[index]
            else:
                ours = to_ours(tensor, stored.read(name, *block), [stop - start for start, stop in bounds])
            parts[bounds] = packed(ours.astype(dtype, copy=False))
        return parts[bounds]

    return jax.make_array_from_callback(tuple(shape), where, part)


def _their_block(tensor: Tensor, shape: Sequence[int], bounds: Sequence[tuple[int, int]]) -> tuple[slice, ...] | None:
    """Slices of their tensor that hold a part of ours; None where they are not one block, or it is not worth it."""
    if tensor.conv or tensor.shape:
        return None
    axes = range(len(shape))
    if tensor.inputs:
        groups = [axes[tensor.inputs :], axes[: tensor.inputs]]
    else:
        groups = [axes] if tensor.flat else [[a] for a in axes]
    block = []
    for first, *rest in groups:
        if any(bounds[a] != (0, shape[a]) for a in rest):
            return None
        size = math.prod(shape[a] for a in rest)
        block.append(slice(bounds[first][0] * size, bounds[first][1] * size))
    return tuple(block)


def packed(array: np.ndarray) -> np.ndarray:
    """The same values, contiguous.

    NumPy copies a transposed matrix value by value, each from another cache line; in strips it is five times as fast.
    """
    if array.flags.c_contiguous:
        return array
    packed = np.empty(array.shape, array.dtype)
    for i in range(0, array.shape[-1], STRIP):
        packed[..., i : i + STRIP] = array[..., i : i + STRIP]
    return packed


@jax.jit(donate_argnums=0)
def set_layer(stack: jax.Array, layer: jax.Array, i: jax.Array) -> jax.Array:
    return jax.lax.dynamic_update_index_in_dim(stack, layer, i, axis=0)
