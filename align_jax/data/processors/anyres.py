"""Pictures of any resolution: one tile of all of it, and a grid of tiles from a list of sizes. LLaVA-NeXT and after.

Liu et al. 2024, https://llava-vl.github.io/blog/2024-01-30-llava-next.
"""

from collections.abc import Sequence

import numpy as np

from align_jax.data.processors.tiles import NEWLINE


def best_grid(height: int, width: int, sizes: Sequence[Sequence[int]], tile: int) -> tuple[int, int]:
    """Rows and columns of tiles that a picture is cut into."""
    from transformers.image_processing_utils import select_best_resolution  # what the image processors use

    rows, columns = select_best_resolution((height, width), sizes)
    return rows // tile, columns // tile


def stitched(rows: int, columns: int, side: int) -> np.ndarray:
    """i64[rows * side, columns * side]: number of each feature of a grid of tiles, counted tile after tile."""
    numbers = np.arange(rows * columns * side**2).reshape(rows, columns, side, side)
    return numbers.swapaxes(1, 2).reshape(rows * side, columns * side)


def unpadded(grid: np.ndarray, height: int, width: int) -> np.ndarray:
    """Without the rows or columns that show nothing but the padding of a picture of `height` x `width`."""
    rows, columns = grid.shape
    if width / height > columns / rows:
        edge = (rows - int(round(height * (columns / width), 7))) // 2
        return grid[edge : rows - edge]
    edge = (columns - int(round(width * (rows / height), 7))) // 2
    return grid[:, edge : columns - edge]


def with_newlines(lines: np.ndarray) -> np.ndarray:
    """[rows, columns] -> [rows, columns + 1]: the learned end behind every row."""
    return np.pad(lines, ((0, 0), (0, 1)), constant_values=NEWLINE)


def resized(rows: int, columns: int, new_rows: int, new_columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Bilinear interpolation (corners not aligned, no smoothing), as four cells of a grid for each new one.

    Returns:
      Numbers i64[new_rows, new_columns, 4] of cells counted row by row, and weights f32 of that shape.
    """

    def along(old: int, new: int) -> tuple[np.ndarray, np.ndarray]:  # [new, 2] places and weights
        scale = np.float32(old) / np.float32(new)
        centre = np.maximum(scale * (np.arange(new, dtype=np.float32) + np.float32(0.5)) - np.float32(0.5), 0)
        first = np.minimum(centre.astype(np.int64), old - 1)
        part = centre - first
        return np.stack([first, np.minimum(first + 1, old - 1)], -1), np.stack([1 - part, part], -1)

    (y, in_y), (x, in_x) = along(rows, new_rows), along(columns, new_columns)
    cells = y[:, None, :, None] * columns + x[None, :, None, :]
    weights = in_y[:, None, :, None] * in_x[None, :, None, :]
    shape = (new_rows, new_columns, 4)
    return cells.reshape(shape), weights.reshape(shape).astype(np.float32)
