"""LLaVA-NeXT: the whole picture, and tiles of it in full resolution (see anyres.py)."""

from collections.abc import Sequence

import numpy as np

from align_jax import registry
from align_jax.data.processors.anyres import best_grid, stitched, unpadded, with_newlines
from align_jax.data.processors.base import Shown
from align_jax.data.processors.llava import features_of
from align_jax.data.processors.tiles import IMAGE, TileProcessor, open_settings, pil, vision_size


class LlavaNext(TileProcessor):
    def images(self, images: Sequence[np.ndarray]) -> list[Shown]:
        """The whole picture first; then its tiles line by line, across tiles, each line with its end."""
        return [self._image(image) for image in images]

    def _image(self, image: np.ndarray) -> Shown:
        pixels = self.image_processor(pil([image]), return_tensors="np")["pixel_values"][0]
        grid = best_grid(*image.shape[:2], self.image_processor.image_grid_pinpoints, self.size)
        lines = self.features + unpadded(stitched(*grid, round(self.features**0.5)), *image.shape[:2])
        slots = np.concatenate([np.arange(self.features), with_newlines(lines).ravel()])
        return self.shown(IMAGE * len(slots), pixels, slots)


@registry.entry()
def llava_next(*, folder: str, image_grid_pinpoints: Sequence[Sequence[int]] | None = None) -> LlavaNext:
    """Processor of the checkpoint in `folder`.

    Args:
      folder: has config.json and preprocessor_config.json.
      image_grid_pinpoints: heights and widths that pictures may be resized to; as published if not given.
    """
    sizes = None if image_grid_pinpoints is None else [list(size) for size in image_grid_pinpoints]
    config, processor = open_settings(folder, image_grid_pinpoints=sizes)
    return LlavaNext(processor, vision_size(config)[0], features_of(config))
