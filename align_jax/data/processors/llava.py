"""LLaVA-1.5: a picture is one tile, cropped to a square. Liu et al. 2023, https://arxiv.org/abs/2310.03744."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from align_jax import registry
from align_jax.data.processors.base import Shown
from align_jax.data.processors.tiles import IMAGE, TileProcessor, open_settings, pil, vision_size

WITH_CLASS = {"clip_vision_model": 1, "siglip_vision_model": 0}  # towers of LLaVA, and what they give besides patches


class Llava(TileProcessor):
    def images(self, images: Sequence[np.ndarray]) -> list[Shown]:
        """One tile for each."""
        if not images:
            return []
        pixels = self.image_processor(pil(images), return_tensors="np")["pixel_values"]
        return [self.shown(IMAGE * self.features, tile[None]) for tile in pixels]


def features_of(config: Any) -> int:
    """Features of a tile.

    Raises:
      ValueError: a tower that LLaVA has never had, or one whose class token is kept.
    """
    tower, strategy = config.vision_config.model_type, config.vision_feature_select_strategy
    if tower not in WITH_CLASS:
        raise ValueError(f"the vision tower is a {tower}: LLaVA checkpoints with {' or '.join(WITH_CLASS)} are read")
    if (strategy == "default") != bool(WITH_CLASS[tower]):
        raise ValueError(f"vision_feature_select_strategy {strategy!r} of a {tower}: only all patches can be read")
    return vision_size(config)[1] ** 2


@registry.entry()
def llava(*, folder: str) -> Llava:
    """Processor of the checkpoint in `folder`, which has config.json and preprocessor_config.json."""
    config, processor = open_settings(folder)
    return Llava(processor, vision_size(config)[0], features_of(config))
