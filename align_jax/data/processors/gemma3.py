"""Gemma 3: a picture is one tile; long ones may be cut into more. https://arxiv.org/abs/2503.19786."""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from align_jax import registry
from align_jax.data.processors.base import Shown
from align_jax.data.processors.tiles import TileProcessor, open_settings, pil, vision_size

START, SOFT, END = "<start_of_image>", "<image_soft_token>", "<end_of_image>"


@dataclasses.dataclass(frozen=True)
class Gemma3(TileProcessor):
    marks: ClassVar = {"image": START}
    placeholders: ClassVar = (SOFT,)

    pan_and_scan: bool = False
    min_crop_size: int = 256
    max_crops: int = 4
    min_ratio: float = 1.2

    def images(self, images: Sequence[np.ndarray]) -> list[Shown]:
        """The whole picture, then its crops if it is long and `pan_and_scan` is on."""
        if not images:
            return []
        made = self.image_processor(
            pil(images),
            do_pan_and_scan=self.pan_and_scan,
            pan_and_scan_min_crop_size=self.min_crop_size,
            pan_and_scan_max_num_crops=self.max_crops,
            pan_and_scan_min_ratio_to_activate=self.min_ratio,
            return_tensors="np",
        )
        tiles = np.split(made["pixel_values"], np.cumsum(np.asarray(made["num_crops"]) + 1)[:-1])
        return [self.shown(self._text(len(each) - 1), each) for each in tiles]

    def _text(self, crops: int) -> str:
        one = f"\n\n{START}{SOFT * self.features}{END}\n\n"
        if not crops:
            return one
        rest = " ".join([one] * crops)
        return f"Here is the original image {one} and here are some crops to help you see better {rest}"


@registry.entry()
def gemma3(
    *, folder: str, pan_and_scan: bool = False, min_crop_size: int = 256, max_crops: int = 4, min_ratio: float = 1.2
) -> Gemma3:
    """Processor of the checkpoint in `folder`. The defaults are those that Gemma was published with.

    Args:
      folder: has config.json and preprocessor_config.json.
      pan_and_scan: whether to cut crops from long pictures.
      min_crop_size: pixels that both sides of a crop must have.
      max_crops: of a picture.
      min_ratio: how many times longer than the other a side must be.
    """
    config, processor = open_settings(folder)
    how = dict(pan_and_scan=pan_and_scan, min_crop_size=min_crop_size, max_crops=max_crops, min_ratio=min_ratio)
    return Gemma3(processor, vision_size(config)[0], config.mm_tokens_per_image, **how)
