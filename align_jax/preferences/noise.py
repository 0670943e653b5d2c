"""Noise on images, for `corrupt.py`: (image u8[H, W, 3], rng, *, hyper-parameters) -> u8[H, W, 3]."""

import numpy as np

from align_jax import registry


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
    return _bytes(x * 255, clip)


@registry.entry()
def gaussian(image: np.ndarray, rng: np.random.Generator, *, sigma: float = 25.0, clip: str = "clamp") -> np.ndarray:
    """Gaussian noise added to the pixels; the image itself does not fade, as it does in `diffusion`.

    Args:
      image: u8[H, W, 3].
      rng: source of chance.
      sigma: standard deviation in pixel values. MIA-DPO (arXiv:2410.17637) takes 225 for the neighbours in a collage
        and 49 for a picture in a picture, with "wrap".
      clip: what becomes of values beyond 0 and 255, as in `diffusion`.

    Raises:
      ValueError: unknown `clip`, or a negative sigma.
    """
    if clip not in ("clamp", "wrap") or sigma < 0:
        raise ValueError(f"clip={clip!r}, sigma={sigma}: must be clamp or wrap, and at least 0")
    return _bytes(image + sigma * rng.standard_normal(image.shape), clip)


def _bytes(values: np.ndarray, clip: str) -> np.ndarray:
    if clip == "wrap":
        return np.trunc(values).astype(np.int64).astype(np.uint8)
    return np.round(values.clip(0, 255)).astype(np.uint8)
