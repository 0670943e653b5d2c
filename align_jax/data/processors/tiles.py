"""What the processors share whose towers take tiles of one size."""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from align_jax.data.processors.base import Shown
from align_jax.data.records import RecordError
from align_jax.types import Tiles

IMAGE, VIDEO = "<image>", "<video>"  # what most tokenizers call their placeholders
NEWLINE = -1  # slot of the learned end of a line
SETTINGS = ("preprocessor_config.json", "processor_config.json")  # files that describe a processor


@dataclasses.dataclass(frozen=True)
class TileProcessor:
    """Base: a family says how it cuts pictures, and may say how it cuts videos."""

    marks: ClassVar = {"image": IMAGE}
    placeholders: ClassVar = (IMAGE,)
    sample_rate: ClassVar = 0
    taps: ClassVar = 1  # features that are blended into one placeholder

    image_processor: Any  # of transformers, the one that works on PIL images
    size: int  # pixels along each side of a tile
    features: int  # of a tile

    def videos(self, videos: Sequence[Sequence[np.ndarray]]) -> list[Shown]:
        """Raises RecordError: unless a family says otherwise, it sees pictures only."""
        if videos:
            raise RecordError("prompt", "has videos, and this model sees pictures only")
        return []

    def sounds(self, sounds: Sequence[np.ndarray]) -> list[Shown]:
        """Raises RecordError: no model of these listens."""
        if sounds:
            raise RecordError("prompt", "has recordings, and this model does not listen")
        return []

    def join(self, shown: Sequence[Shown]) -> Tiles:
        """One tile after the other; slots are counted on, ends of lines stay."""
        pixels = [np.zeros((0, self.size, self.size, 3), np.float32)]
        slots = [np.zeros((0, self.taps), np.int32)]
        weights = [np.zeros((0, self.taps), np.float32)]
        before = 0
        for each in shown:
            own = each.media.slots
            pixels.append(each.media.pixels)
            slots.append(np.where(own == NEWLINE, NEWLINE, own + before).astype(np.int32))
            weights.append(each.media.weights)
            before += len(each.media.pixels) * self.features
        return Tiles(np.concatenate(pixels), np.concatenate(slots), np.concatenate(weights))

    def positions(self, ids: np.ndarray, shown: Sequence[Shown]) -> None:
        """None: these models count tokens."""
        return None

    def shown(self, text: str, pixels: np.ndarray, slots: np.ndarray | None = None) -> Shown:
        """One picture or video.

        Args:
          text: what stands in the prompt for it.
          pixels: f32[n, C, H, W], as image processors give them.
          slots: i32[F] features in the order of their placeholders; None: all of them, tile after tile.

        Raises:
          ValueError: the image processor and the tower disagree about the size of a tile.
        """
        slots = np.arange(len(pixels) * self.features) if slots is None else slots
        return self.blended(text, pixels, *alone(slots, self.taps))

    def blended(self, text: str, pixels: np.ndarray, slots: np.ndarray, weights: np.ndarray) -> Shown:
        """Like `shown`, with slots and weights [F, taps]."""
        pixels = np.asarray(pixels, np.float32)
        if pixels.shape[1:] != (3, self.size, self.size):
            raise ValueError(
                f"the image processor gives tiles of {pixels.shape[1:]}, and the tower takes {self.size}**2: "
                "preprocessor_config.json and config.json are not of one checkpoint"
            )
        tiles = np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))
        return Shown(text, len(slots), Tiles(tiles, slots.astype(np.int32), weights.astype(np.float32)))


def alone(slots: np.ndarray, taps: int) -> tuple[np.ndarray, np.ndarray]:
    """Slots and weights [..., taps] that take the features `slots` [...] as they are."""
    first = np.arange(taps) == 0
    slots = np.where(first, slots[..., None], 0)
    return slots, np.broadcast_to(first.astype(np.float32), slots.shape)


def open_settings(folder: str, **changes: Any) -> tuple[Any, Any]:
    """The published config, and the image processor that `AutoImageProcessor` chooses, in its PIL form.

    Args:
      folder: config.json and preprocessor_config.json (or processor_config.json).
      changes: settings of the image processor to take the place of the published ones; None: as published.

    Raises:
      FileNotFoundError: one of the files is missing.
    """
    import transformers  # takes seconds

    check_files(folder)
    changes = {name: value for name, value in changes.items() if value is not None}
    processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil", **changes)
    return transformers.AutoConfig.from_pretrained(folder), processor


def check_files(folder: str) -> None:
    """Raises FileNotFoundError unless a folder describes a model and its processor."""
    if not (Path(folder) / "config.json").exists() or not any((Path(folder) / name).exists() for name in SETTINGS):
        raise FileNotFoundError(f"{folder} needs config.json, and {' or '.join(SETTINGS)}")


def pil(images: Iterable[np.ndarray]) -> list[Image.Image]:
    """Of uint8[H, W, 3]; of arrays, the published processors guess where the channels are."""
    return [Image.fromarray(image) for image in images]


def vision_size(config: Any) -> tuple[int, int]:
    """Pixels along each side of a tile, and patches along it."""

    def one(value: int | Sequence[int]) -> int:
        return value if isinstance(value, int) else value[0]

    vision = config.vision_config
    return one(vision.image_size), one(vision.image_size) // one(vision.patch_size)


def check_frames(frames: Sequence[np.ndarray]) -> None:
    """Raises RecordError for a video without frames."""
    if not len(frames):
        raise RecordError("prompt", "has a video without frames: leave the record out")
