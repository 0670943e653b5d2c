"""Corrupted images, for methods that prefer an answer given the true image to the same answer given a worse one.

Every entry is `(image u8[H, W, 3], rng, *, hyper-parameters) -> u8[H, W, 3]`, leaves its input alone, and is built by
name: `registry.build("align_jax.preferences", "corrupt:random_crop")`. Only `swap` may return another size.
"""

import functools
import glob
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from align_jax import registry
from align_jax.data.media import read_image
from align_jax.preferences.degrade import blur, jitter, pixelate, resize
from align_jax.preferences.noise import diffusion, diffusion_schedule, gaussian

__all__ = [
    "blank",
    "blur",
    "diffusion",
    "diffusion_schedule",
    "gaussian",
    "jitter",
    "lesion",
    "mask",
    "pixelate",
    "random_crop",
    "resize",
    "swap",
]


@registry.entry()
def random_crop(
    image: np.ndarray,
    rng: np.random.Generator,
    *,
    scale: tuple[float, float] = (0.01, 0.2),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> np.ndarray:
    """A random part of the image, enlarged to its size: the rejected image of mDPO (arXiv:2406.11839).

    As torchvision's `RandomResizedCrop`.

    Args:
      image: u8[H, W, 3].
      rng: source of chance.
      scale: bounds of the area of the part, as a share of the image; drawn uniformly.
      ratio: bounds of its width divided by its height; drawn uniformly in the logarithm.
    """
    box = _random_box(image, rng, scale, ratio)
    size = image.shape[1], image.shape[0]
    return np.array(Image.fromarray(image).crop(box).resize(size, Image.Resampling.BILINEAR))


def _random_box(
    image: np.ndarray, rng: np.random.Generator, scale: tuple[float, float], ratio: tuple[float, float]
) -> tuple[int, int, int, int]:
    """Left, top, right and bottom: ten tries for a box that fits, then the largest centred one that does."""
    height, width = image.shape[:2]
    for _ in range(10):
        area = height * width * rng.uniform(*scale)
        aspect = math.exp(rng.uniform(*np.log(ratio)))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
            break
    else:
        aspect = min(max(width / height, ratio[0]), ratio[1])
        w, h = min(width, round(height * aspect)), min(height, round(width / aspect))
        left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


@registry.entry()
def blank(image: np.ndarray, rng: np.random.Generator, *, value: int = 0) -> np.ndarray:
    """An image of one gray level, 0 (black) to 255: nothing is left to see."""
    return np.full_like(image, value)


@registry.entry()
def mask(
    image: np.ndarray,
    rng: np.random.Generator,
    *,
    grid: int = 2,
    keep: int = 1,
    share: float | None = None,
    value: int = 0,
) -> np.ndarray:
    """Blanks cells at random.

    Args:
      image: u8[H, W, 3].
      rng: source of chance.
      grid: the image is cut into `grid` rows and columns of cells, equal up to a pixel.
      keep: number of cells that are left as they are.
      share: in place of `keep`, the share of the cells that is blanked. OPA-DPO (arXiv:2501.09695) blanks .3; with a
        grid of 24, cells are the patches of LLaVA-1.5.
      value: gray level of the others.

    Raises:
      ValueError: `keep` is not between 0 and the number of cells, or `share` not between 0 and 1.
    """
    if share is not None:
        if not 0 <= share <= 1:
            raise ValueError(f"share={share} is not between 0 and 1")
        keep = grid * grid - round(share * grid * grid)
    if not 0 <= keep <= grid * grid:
        raise ValueError(f"keep={keep} is not between 0 and {grid * grid}, the number of cells")
    kept = np.zeros(grid * grid, bool)
    kept[rng.permutation(grid * grid)[:keep]] = True
    rows, columns = (np.arange(size) * grid // size for size in image.shape[:2])
    seen = kept.reshape(grid, grid)[rows[:, None], columns]  # bool[H, W]
    return np.where(seen[..., None], image, np.uint8(value))


@registry.entry()
def lesion(
    image: np.ndarray,
    rng: np.random.Generator,
    *,
    box: tuple[float, float, float, float] | None = None,
    scale: tuple[float, float] = (0.05, 0.2),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
    step: int = 500,
    clip: str = "clamp",
) -> np.ndarray:
    """Noise inside a box, and nothing else: the lesion that MMedPO (arXiv:2412.06141) hides.

    There, a visual tool finds the lesion of each image. For boxes of their own, call this while the records are made,
    and keep what it returns as `views` of the record.

    Args:
      image: u8[H, W, 3].
      rng: source of chance.
      box: left, top, right, bottom as shares of width and height; None draws one, a control without knowledge.
      scale: of a box that is drawn, as in `random_crop`.
      ratio: likewise.
      step: of the noise, as in `diffusion`. MMedPO's is not known.
      clip: likewise.

    Raises:
      ValueError: `box` is empty or leaves the image, or see `diffusion`.
    """
    if box is None:
        left, top, right, bottom = _random_box(image, rng, scale, ratio)
    else:
        left, top, right, bottom = box
        if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
            raise ValueError(f"box={tuple(box)}: must be left < right and top < bottom, between 0 and 1")
        height, width = image.shape[:2]
        left, top = math.floor(left * width), math.floor(top * height)
        right, bottom = math.ceil(right * width), math.ceil(bottom * height)
    hidden = image.copy()
    hidden[top:bottom, left:right] = diffusion(image[top:bottom, left:right], rng, step=step, clip=clip)
    return hidden


@registry.entry()
def swap(image: np.ndarray, rng: np.random.Generator, *, pool: str | Sequence[str], fit: bool = True) -> np.ndarray:
    """Another picture, drawn from a pool.

    Args:
      image: u8[H, W, 3]; a copy of it in the pool is passed over.
      rng: source of chance.
      pool: files, or a pattern of files such as "coco/**/*.jpg".
      fit: resize the picture to the size of the image, so that it takes as many tokens; else it keeps its own.

    Returns:
      u8[H, W, 3], or u8[H', W', 3] without `fit`.

    Raises:
      ValueError: the pool holds no other picture, or (`MediaError`) one of its files cannot be read.
    """
    files = _matches(pool) if isinstance(pool, str) else pool
    for i in rng.permutation(len(files)):
        other = read_image(files[i])
        if fit:
            size = image.shape[1], image.shape[0]
            other = np.array(Image.fromarray(other).resize(size, Image.Resampling.BILINEAR))
        if not np.array_equal(other, image):
            return other
    raise ValueError(f"pool={pool!r}: none of its {len(files)} files is another picture")


@functools.lru_cache
def _matches(pattern: str) -> tuple[str, ...]:
    return tuple(sorted(glob.glob(pattern, recursive=True)))
