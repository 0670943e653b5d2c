"""InternVL: as many tiles as fit the shape of a picture, then all of it. Zhu et al. 2025, arXiv:2504.10479."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from align_jax import registry
from align_jax.data.processors.base import Shown
from align_jax.data.processors.tiles import VIDEO, TileProcessor, check_frames, open_settings, pil, vision_size

START, CONTEXT, END = "<img>", "<IMG_CONTEXT>", "</img>"


class InternVL(TileProcessor):
    marks: ClassVar = {"image": CONTEXT, "video": VIDEO}
    placeholders: ClassVar = (CONTEXT,)

    def images(self, images: Sequence[np.ndarray]) -> list[Shown]:
        """Tiles row by row, and the whole picture behind them if there are several."""
        if not images:
            return []
        made = self.image_processor(pil(images), crop_to_patches=True, return_tensors="np")
        tiles = np.split(made["pixel_values"], np.cumsum(made["num_patches"])[:-1])
        return [self.shown(self._text(len(each)), each) for each in tiles]

    def videos(self, videos: Sequence[Sequence[np.ndarray]]) -> list[Shown]:
        """Every frame is one tile, resized with PIL, where the published video processor takes torchvision."""
        return [self._video(frames) for frames in videos]

    def _video(self, frames: Sequence[np.ndarray]) -> Shown:
        check_frames(frames)
        made = self.image_processor(pil(frames), crop_to_patches=False, return_tensors="np")
        text = "\n".join(f"Frame{t + 1}: {self._text(1)}" for t in range(len(frames)))
        return self.shown(text, made["pixel_values"])

    def _text(self, tiles: int) -> str:
        return START + CONTEXT * (self.features * tiles) + END


@registry.entry()
def internvl(*, folder: str, min_tiles: int | None = None, max_tiles: int | None = None) -> InternVL:
    """Processor of the checkpoint in `folder`.

    Args:
      folder: has config.json and preprocessor_config.json.
      min_tiles, max_tiles: of a picture, the whole of it not counted; as published if not given.
    """
    config, processor = open_settings(folder, min_patches=min_tiles, max_patches=max_tiles)
    size, side = vision_size(config)
    return InternVL(processor, size, int(side**2 * config.downsample_ratio**2))
