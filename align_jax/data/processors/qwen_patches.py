"""From frames to packed patches, as the vision towers of Qwen-VL take them."""

import math
from collections.abc import Sequence

import numpy as np

from align_jax.types import Patches


def fit(
    height: int, width: int, factor: int, least: int, most: int, frames: int = 1, counted: int = 1
) -> tuple[int, int]:
    """Height and width that are multiples of `factor` and keep the shape of the frame as well as they can.

    Args:
      height, width: in pixels.
      factor: patch size times merge size.
      least, most: pixels, of all `frames` together; upwards and downwards to them is scaled.
      frames, counted: of a video that is bounded as a whole; and how many are counted to see if it is out of bounds.
    """
    rows, columns = (round(side / factor) * factor for side in (height, width))
    if counted * rows * columns > most:
        shrink = math.sqrt(frames * height * width / most)
        rows, columns = (max(factor, math.floor(side / shrink / factor) * factor) for side in (height, width))
    elif counted * rows * columns < least:
        grow = math.sqrt(least / (frames * height * width))
        rows, columns = (math.ceil(side * grow / factor) * factor for side in (height, width))
    return rows, columns


def cut(frames: np.ndarray, patch: int, merge: int, temporal: int) -> tuple[np.ndarray, tuple[int, int, int]]:
    """Frames f32[T, H, W, C] -> patches f32[S, C * temporal * patch * patch], and how many in time, rows and columns.

    Patches that are merged follow each other; T, H and W are multiples of what they are cut into.
    """
    T, H, W, C = frames.shape
    side = merge * patch
    x = frames.reshape(T // temporal, temporal, H // side, merge, patch, W // side, merge, patch, C)
    x = x.transpose(0, 2, 5, 3, 6, 8, 1, 4, 7)  # time; row, column of the merged; of the patch in it; C, time, H, W
    return x.reshape(-1, C * temporal * patch**2), (T // temporal, H // patch, W // patch)


def window_order(rows: int, columns: int, side: int) -> np.ndarray:
    """i64[n]: numbers of a frame's cells, counted row by row, window after window; -1 where an edge cuts a window.

    Args:
      side: cells of a window along each side; 0: no windows.
    """
    cells = np.arange(rows * columns).reshape(rows, columns)
    if not side:
        return cells.ravel()
    padded = np.pad(cells, ((0, -rows % side), (0, -columns % side)), constant_values=-1)
    return padded.reshape(padded.shape[0] // side, side, -1, side).swapaxes(1, 2).ravel()


def lay_out(pixels: np.ndarray, grid: tuple[int, int, int], merge: int, window: int) -> Patches:
    """Media of one picture or video, without the axis of rows.

    Args:
      pixels: f32[S, values of a patch] in the published order: frame after frame, patches that are merged together.
      grid: frames (of several pictures each), rows and columns of patches.
      merge: side of the squares of patches that become one feature.
      window: side of the tower's windows, in such squares; 0: none.
    """
    frames, rows, columns = grid
    cells, unit = (rows // merge, columns // merge), merge**2
    order = window_order(*cells, window)
    real = order >= 0

    def laid(values: np.ndarray) -> np.ndarray:  # [frames, cells of a frame, unit, ...] -> [S, ...]
        moved = values[:, order]
        moved[:, ~real] = 0
        return moved.reshape(-1, *values.shape[3:])

    shape = (frames, rows * columns // unit, unit)
    place = np.indices((rows, columns), np.int32).reshape(2, cells[0], merge, cells[1], merge)
    place = place.transpose(1, 3, 2, 4, 0).reshape(1, *shape[1:], 2)
    segment = np.arange(1, frames + 1, dtype=np.int32)[:, None, None]
    cell_of = np.flatnonzero(real)[np.argsort(order[real])]  # where each cell of a frame went
    return Patches(
        pixels=laid(pixels.reshape(*shape, -1)),
        segment=laid(np.broadcast_to(segment, shape)),
        place=laid(np.broadcast_to(place, (*shape, 2))),
        size=laid(np.broadcast_to(np.array((rows, columns), np.int32), (*shape, 2))),
        slots=(np.arange(frames)[:, None] * len(order) + cell_of).ravel().astype(np.int32),
    )


def pack(parts: Sequence[Patches], values: int, merge: int) -> Patches:
    """Media of one prompt; of no parts, arrays of length 0 for patches of so many `values`."""
    nothing = np.zeros(0, np.int32)
    joined = [Patches(np.zeros((0, values), np.float32), nothing, *[nothing.reshape(0, 2)] * 2, nothing)]
    frames = slots = 0
    for part in parts:
        segment = np.where(part.segment > 0, part.segment + frames, 0).astype(np.int32)
        joined.append(Patches(part.pixels, segment, part.place, part.size, part.slots + np.int32(slots)))
        frames += int(part.segment.max(initial=0))
        slots += len(part.segment) // merge**2
    return Patches(**{name: np.concatenate([vars(part)[name] for part in joined]) for name in vars(joined[0])})
