"""LLaVA-OneVision: pictures in full resolution, several pictures, or videos. https://arxiv.org/abs/2408.03326."""

import dataclasses
import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from align_jax import registry
from align_jax.data.processors.anyres import best_grid, resized, stitched, unpadded
from align_jax.data.processors.base import Shown
from align_jax.data.processors.llava import features_of
from align_jax.data.processors.tiles import (
    IMAGE,
    NEWLINE,
    VIDEO,
    TileProcessor,
    alone,
    check_frames,
    open_settings,
    pil,
    vision_size,
)


@dataclasses.dataclass(frozen=True)
class LlavaOnevision(TileProcessor):
    marks: ClassVar = {"image": IMAGE, "video": VIDEO}
    placeholders: ClassVar = (IMAGE, VIDEO)
    taps: ClassVar = 4

    most: int  # tiles' worth of features that a picture's grid may take; larger grids are scaled down

    @property
    def side(self) -> int:
        return round(self.features**0.5)

    def images(self, images: Sequence[np.ndarray]) -> list[Shown]:
        """A single picture like LLaVA-NeXT, scaled down to `most`; each of several as one tile, padded to a square."""
        if not images:
            return []
        if len(images) == 1:
            return [self._image(images[0])]
        # Nested, so that the processor knows that they are of one prompt.
        tiles = self.image_processor([pil(images)], return_tensors="np")["pixel_values"]
        slots = np.append(np.arange(self.features), NEWLINE)
        return [self.shown(IMAGE * len(slots), tile, slots) for tile in tiles]

    def videos(self, videos: Sequence[Sequence[np.ndarray]]) -> list[Shown]:
        """Frames one after the other, each at half of the resolution, and one end of a line.

        Frames are resized like pictures, with PIL; the published video processor resizes with torchvision, which may
        round a level otherwise.
        """
        return [self._video(frames) for frames in videos]

    def _image(self, image: np.ndarray) -> Shown:
        pixels = self.image_processor(pil([image]), return_tensors="np")["pixel_values"][0]
        grid = best_grid(*image.shape[:2], self.image_processor.image_grid_pinpoints, self.size)
        lines = self.features + unpadded(stitched(*grid, self.side), *image.shape[:2])
        rows, columns = lines.shape
        excess = math.sqrt(rows * columns / (self.most * self.features))
        slots, weights = alone(lines, self.taps)
        if excess > 1.1:
            cells, weights = resized(rows, columns, int(rows // excess), int(columns // excess))
            slots = lines.ravel()[cells]
        whole = alone(np.arange(self.features), self.taps)
        ends = alone(np.full((len(slots), 1), NEWLINE), self.taps)
        slots, weights = (
            np.concatenate([first, np.concatenate([line, end], axis=1).reshape(-1, self.taps)])
            for first, line, end in zip(whole, (slots, weights), ends, strict=True)
        )
        return self.blended(IMAGE * len(slots), pixels, slots, weights)

    def _video(self, frames: Sequence[np.ndarray]) -> Shown:
        check_frames(frames)
        half = math.ceil(self.side / 2)
        cells, weights = (x.reshape(-1, self.taps) for x in resized(self.side, self.side, half, half))
        end_slots, end_weights = alone(np.array([NEWLINE]), self.taps)
        slots = np.concatenate([*(cells + t * self.features for t in range(len(frames))), end_slots])
        weights = np.concatenate([*[weights] * len(frames), end_weights])
        one = [[self.size, self.size]]  # all of a frame, not padded, and the same again as its only tile
        made = self.image_processor(pil(frames), image_grid_pinpoints=one, return_tensors="np")
        return self.blended(VIDEO * len(slots), made["pixel_values"][:, 0], slots, weights)


@registry.entry()
def llava_onevision(
    *, folder: str, image_grid_pinpoints: Sequence[Sequence[int]] | None = None, max_tiles: int | None = None
) -> LlavaOnevision:
    """Processor of the checkpoint in `folder`.

    Args:
      folder: has config.json and preprocessor_config.json.
      image_grid_pinpoints: heights and widths that pictures may be resized to; as published if not given.
      max_tiles: tiles' worth of placeholders that a picture may take besides the first; 9 of "anyres_max_9".
    """
    sizes = None if image_grid_pinpoints is None else [list(size) for size in image_grid_pinpoints]
    config, processor = open_settings(folder, image_grid_pinpoints=sizes)
    most = max_tiles or int(config.vision_aspect_ratio.removeprefix("anyres_max_"))
    return LlavaOnevision(processor, vision_size(config)[0], features_of(config), most)
