"""Images: from files to the pixels that a vision tower takes."""

import dataclasses
import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


class MediaError(ValueError):
    """An image cannot be read."""


def read_image(image: bytes | str | Path) -> np.ndarray:
    """uint8[H, W, 3] of an encoded image, turned upright as its EXIF data say.

    Raises:
      MediaError: missing, truncated, or not an image; names the file, or the number of bytes.
    """
    name = f"{len(image)} bytes" if isinstance(image, bytes) else str(image)
    try:
        with Image.open(io.BytesIO(image) if isinstance(image, bytes) else image) as opened:
            upright = ImageOps.exif_transpose(opened)
            if upright.mode.startswith("I;16"):  # convert() would clip all but the darkest 256 levels to white
                upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
            return np.array(upright.convert("RGB"))
    except FileNotFoundError:
        raise MediaError(f"there is no image {name}: check the path, and the `root` that it is relative to") from None
    except MemoryError:
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, DecompressionBombError, ...
        raise MediaError(f"cannot read {name} as an image ({error}): replace it, or leave the row out") from error


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
