"""Loss of detail and of colour, for `corrupt.py`: (image u8[H, W, 3], rng, *, hyper-parameters) -> u8[H, W, 3]."""

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from align_jax import registry


@registry.entry()
def blur(image: np.ndarray, rng: np.random.Generator, *, radius: float = 8.0) -> np.ndarray:
    """Gaussian blur; `radius` is the standard deviation in pixels."""
    return np.array(Image.fromarray(image).filter(ImageFilter.GaussianBlur(radius)))


@registry.entry()
def resize(image: np.ndarray, rng: np.random.Generator, *, short_side: int = 20) -> np.ndarray:
    """Makes the image tiny, and large again: STIC (arXiv:2405.19716), whose tower enlarges what is tiny.

    Args:
      image: u8[H, W, 3].
      rng: not used.
      short_side: of the tiny image, in pixels; the other side follows, bilinear both ways.

    Raises:
      ValueError: `short_side` is below 1.
    """
    if short_side < 1:
        raise ValueError(f"short_side={short_side} is below 1")
    picture = Image.fromarray(image)
    shrink = short_side / min(picture.size)
    tiny = picture.resize([max(1, round(side * shrink)) for side in picture.size], Image.Resampling.BILINEAR)
    return np.array(tiny.resize(picture.size, Image.Resampling.BILINEAR))


@registry.entry()
def pixelate(image: np.ndarray, rng: np.random.Generator, *, block: int = 16) -> np.ndarray:
    """Blocks of one colour each, their mean: one of the corruptions of Image DPO (vVLM, arXiv:2501.00569).

    Args:
      image: u8[H, W, 3].
      rng: not used.
      block: their width and height in pixels, equal up to a pixel. The paper's is not known.

    Raises:
      ValueError: `block` is below 1.
    """
    if block < 1:
        raise ValueError(f"block={block} is below 1")
    picture = Image.fromarray(image)
    small = picture.resize([max(1, round(side / block)) for side in picture.size], Image.Resampling.BOX)
    return np.array(small.resize(picture.size, Image.Resampling.NEAREST))


@registry.entry()
def jitter(image: np.ndarray, rng: np.random.Generator, *, brightness: float = 0.5, hue: float = 0.3) -> np.ndarray:
    """Another brightness, then another hue, as torchvision's `ColorJitter`: STIC (arXiv:2405.19716).

    torchvision draws the order of the two as well.

    Args:
      image: u8[H, W, 3].
      rng: source of chance.
      brightness: the factor is drawn uniformly between 1 - `brightness`, but not below 0, and 1 + `brightness`.
      hue: the shift is drawn uniformly between -`hue` and `hue`; 1 is once around the circle of colours.

    Raises:
      ValueError: negative `brightness`, or `hue` not between 0 and .5.
    """
    if brightness < 0 or not 0 <= hue <= 0.5:
        raise ValueError(f"brightness={brightness}, hue={hue}: must be at least 0, and between 0 and 0.5")
    factor, shift = rng.uniform(max(0.0, 1 - brightness), 1 + brightness), rng.uniform(-hue, hue)
    bright = ImageEnhance.Brightness(Image.fromarray(image)).enhance(factor)
    turn = round(shift * 255)
    h, s, v = bright.convert("HSV").split()
    turned = h.point([(level + turn) % 256 for level in range(256)])
    return np.array(Image.merge("HSV", (turned, s, v)).convert("RGB"))
