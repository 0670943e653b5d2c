"""Corrupted images, for methods that prefer an answer given the true image to the same answer given a worse one.

Every entry is `(image u8[H, W, 3], rng, *, hyper-parameters) -> u8[H, W, 3]`, leaves its input alone, and is built by
name: `registry.build("align_jax.preferences", "corrupt:random_crop")`.
"""

import math

import numpy as np
from PIL import Image, ImageFilter

from align_jax import registry


@registry.entry()
def random_crop(
    image: np.ndarray,
    rng: np.random.Generator,
    *,
    scale: tuple[float, float] = (0.01, 0.2),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> np.ndarray:
    """A random part of the image, enlarged to its size: the rejected image of mDPO (arXiv:2406.11839).

    As torchvision's `RandomResizedCrop`: ten tries for a part that fits, then the largest centred one that does.

    Args:
      image: u8[H, W, 3].
      rng: source of chance.
      scale: bounds of the area of the part, as a share of the image; drawn uniformly.
      ratio: bounds of its width divided by its height; drawn uniformly in the logarithm.
    """
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
    part = Image.fromarray(image).crop((left, top, left + w, top + h))
    return np.array(part.resize((width, height), Image.Resampling.BILINEAR))


@registry.entry()
def blank(image: np.ndarray, rng: np.random.Generator, *, value: int = 0) -> np.ndarray:
    """An image of one gray level, 0 (black) to 255: nothing is left to see."""
    return np.full_like(image, value)


@registry.entry()
def blur(image: np.ndarray, rng: np.random.Generator, *, radius: float = 8.0) -> np.ndarray:
    """Gaussian blur; `radius` is the standard deviation in pixels."""
    return np.array(Image.fromarray(image).filter(ImageFilter.GaussianBlur(radius)))


@registry.entry()
def mask(image: np.ndarray, rng: np.random.Generator, *, grid: int = 2, keep: int = 1, value: int = 0) -> np.ndarray:
    """Blanks cells at random.

    Args:
      image: u8[H, W, 3].
      rng: source of chance.
      grid: the image is cut into `grid` rows and columns of cells, equal up to a pixel.
      keep: number of cells that are left as they are.
      value: gray level of the others.

    Raises:
      ValueError: `keep` is not between 0 and the number of cells.
    """
    if not 0 <= keep <= grid * grid:
        raise ValueError(f"keep={keep} is not between 0 and {grid * grid}, the number of cells")
    kept = np.zeros(grid * grid, bool)
    kept[rng.permutation(grid * grid)[:keep]] = True
    rows, columns = (np.arange(size) * grid // size for size in image.shape[:2])
    seen = kept.reshape(grid, grid)[rows[:, None], columns]  # bool[H, W]
    return np.where(seen[..., None], image, np.uint8(value))


def diffusion_schedule(steps: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    """f64[steps] each: the shares of signal and of noise after step t, counted from 0, of the sigmoid schedule.

    beta_t = sigmoid(linspace(-6, 6)) * (0.5e-2 - 1e-5) + 1e-5; signal = sqrt(prod(1 - beta)); noise = sqrt(1 -
    signal^2). From VCD (arXiv:2311.16922); POVID, SeVa, STIC, BPO and Re-Align took it over.
    """
    beta = (0.5e-2 - 1e-5) / (1 + np.exp(-np.linspace(-6, 6, steps))) + 1e-5
    kept = np.cumprod(1 - beta)
    return np.sqrt(kept), np.sqrt(1 - kept)


@registry.entry()
def diffusion(
    image: np.ndarray,
    rng: np.random.Generator,
    *,
    step: int = 500,
    space: str = "pixel",
    clip: str = "clamp",
    mean: tuple[float, float, float] = (0.48145466, 0.4578275, 0.40821073),
    std: tuple[float, float, float] = (0.26862954, 0.26130258, 0.27577711),
) -> np.ndarray:
    """Gaussian noise of a diffusion process: `signal[t] * x + noise[t] * normal`; see `diffusion_schedule`.

    The same step is not the same noise in both spaces: pixels in [0, 1] have about a quarter of the spread of
    normalised ones.

    Args:
      image: u8[H, W, 3].
      rng: source of chance.
      step: t, from 0 to 999. POVID (arXiv:2402.11411) takes 500.
      space: "pixel" adds the noise to pixels in [0, 1], as POVID; "normalized" to those less `mean` and divided by
        `std`, as SeVa (arXiv:2405.20834) and BPO (arXiv:2403.08730).
      clip: what becomes of values beyond [0, 1]. "clamp" to the nearest; "wrap" around to the other end, as the
        conversion to bytes does in POVID's code.
      mean: of each channel, CLIP's by default; for "normalized".
      std: likewise.

    Raises:
      ValueError: unknown `space` or `clip`, or a step out of range.
    """
    if space not in ("pixel", "normalized") or clip not in ("clamp", "wrap"):
        raise ValueError(f"space={space!r}, clip={clip!r}: must be pixel or normalized, and clamp or wrap")
    if not 0 <= step < 1000:
        raise ValueError(f"step {step} is not between 0 and 999")
    offset, spread = (np.zeros(3), np.ones(3)) if space == "pixel" else (np.asarray(mean), np.asarray(std))
    signal, noise = (share[step] for share in diffusion_schedule())
    x = (image / 255.0 - offset) / spread
    x = (signal * x + noise * rng.standard_normal(image.shape)) * spread + offset
    if clip == "wrap":
        return np.trunc(x * 255).astype(np.int64).astype(np.uint8)
    return np.round(x.clip(0, 1) * 255).astype(np.uint8)
