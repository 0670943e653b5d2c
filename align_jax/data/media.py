"""Images and recordings: from files to the arrays that towers take."""

import dataclasses
import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
MAX_PIXELS = 178_956_970  # of a picture, 0.5 GiB as RGB: beyond it, a small file may be meant to fill the memory


class MediaError(ValueError):
    """An image or a recording cannot be read."""


def read_image(image: bytes | str | Path) -> np.ndarray:
    """uint8[H, W, 3] of an encoded image, turned upright as its EXIF data say.

    Transparency is dropped, not blended, as the processors of published models do. Levels of 16 bits are scaled, and
    so are real ones between 0 and 1.

    Raises:
      MediaError: missing, truncated, not an image, or of more than `MAX_PIXELS` pixels; names the file, or the number
        of bytes.
    """

    def decode(file: io.BytesIO | str | Path) -> np.ndarray:
        with Image.open(file) as opened:  # reads the header only
            if opened.width * opened.height > MAX_PIXELS:
                raise ValueError(f"{opened.width} x {opened.height} pixels, at most {MAX_PIXELS} are read")
            upright = ImageOps.exif_transpose(opened)
            upright.info.pop("transparency", None)  # of palettes; it would be dropped too, with a warning
            return np.array(_eight_bits(upright).convert("RGB"))

    return _read(decode, image, "image")


def read_sound(sound: bytes | str | Path, rate: int) -> np.ndarray:
    """f32[samples] at `rate` Hz of an encoded recording (whatever libsndfile reads); channels are averaged.

    Raises:
      MediaError: missing, empty, truncated, or not a recording; names the file, or the number of bytes.
    """
    import scipy.signal
    import soundfile

    def decode(file: io.BytesIO | str | Path) -> np.ndarray:
        samples, found = soundfile.read(file, dtype="float32", always_2d=True)
        if not len(samples):
            raise ValueError("it is empty")
        if not np.isfinite(samples).all():
            raise ValueError("it has samples that are not finite")
        common = math.gcd(found, rate)
        mono = samples.mean(1)
        return mono if found == rate else scipy.signal.resample_poly(mono, rate // common, found // common)

    return _read(decode, sound, "recording").astype(np.float32)


def _read(decode: Callable[[Any], np.ndarray], source: bytes | str | Path, what: str) -> np.ndarray:
    name = f"{len(source)} bytes" if isinstance(source, bytes) else str(source)
    try:
        if not isinstance(source, bytes) and not Path(source).exists():
            raise FileNotFoundError
        return decode(io.BytesIO(source) if isinstance(source, bytes) else source)
    except FileNotFoundError:
        raise MediaError(f"there is no {what} {name}: check the path, and the `root` that it is relative to") from None
    except MemoryError:
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, DecompressionBombError, ...
        raise MediaError(f"cannot read {name} as {_a(what)} ({error}): replace it, or leave the row out") from error


def _a(what: str) -> str:
    return f"an {what}" if what[0] in "aeiou" else f"a {what}"


def _eight_bits(image: Image.Image) -> Image.Image:
    """Of modes with more levels; convert() would clip all but the darkest 256 of them to white."""
    if image.mode.startswith("I"):
        levels = np.asarray(image).astype(np.int64).clip(0, 65535)
        return Image.fromarray((levels >> 8 if levels.max() > 255 else levels).astype(np.uint8))
    if image.mode == "F":
        levels = np.nan_to_num(np.asarray(image), nan=0.0)
        scaled = levels * 255.0 if levels.max() <= 1.0 else levels
        return Image.fromarray(scaled.clip(0, 255).round().astype(np.uint8))
    return image


@dataclasses.dataclass(frozen=True)
class ImageProcessor:
    """Resizes an image to a square, cuts it into tiles and normalises them.

    The aspect ratio is not kept: nothing is cropped away, and no placeholder stands for padding.
    """

    size: int  # height and width of a tile
    grid: int = 1  # tiles along each side
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD

    @property
    def tiles(self) -> int:
        """Tiles of an image."""
        return self.grid**2

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of a tile."""
        return (self.size, self.size, 3)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """uint8[H, W, 3] -> f32[grid * grid, size, size, 3], row by row."""
        side = self.grid * self.size
        resized = np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC), np.float32)
        tiles = resized.reshape(self.grid, self.size, self.grid, self.size, 3).swapaxes(1, 2)
        pixels = tiles.reshape(self.tiles, *self.shape) / 255.0
        return (pixels - np.float32(self.mean)) / np.float32(self.std)
