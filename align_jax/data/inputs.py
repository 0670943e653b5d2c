"""From a prompt and its media to what a model takes: for models trained here; data/published.py has the others."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from align_jax.data.media import ImageProcessor
from align_jax.data.records import RecordError
from align_jax.data.templates import ChatTemplate
from align_jax.types import Media, Prompt, Tiles


class Inputs(Protocol):
    """Picklable: every worker process receives a copy."""

    eos_id: int
    pad_id: int
    empty: Media | None  # media of a prompt without any; None for a model that only reads
    turned: bool  # whether prompts have positions of their own

    def prompt(
        self,
        text: str,
        images: Sequence[np.ndarray] = (),
        videos: Sequence[Sequence[np.ndarray]] = (),
        sounds: Sequence[np.ndarray] = (),
    ) -> Prompt:
        """The whole prompt, up to where the answer begins; raises RecordError for what the model cannot take."""

    def completion(self, text: str) -> np.ndarray:
        """i32[r], ends with the token that ends a turn."""

    def places(self, text: str) -> np.ndarray:
        """i32[r, 2]: which characters of `text` each token of `completion(text)` stands for, from and up to."""

    def decode(self, ids: Sequence[int]) -> str:
        """Text of a completion, without special tokens."""


class TileInputs:
    """Of models trained here: a chat template, and pictures resized to a square of tiles."""

    turned = False
    sample_rate = 0

    def __init__(self, template: ChatTemplate, processor: ImageProcessor | None, max_images: int = 1):
        """
        Args:
          template: text to ids.
          processor: pictures to tiles; None for a model that only reads.
          max_images: of a prompt.

        Raises:
          ValueError: the placeholders of an image cannot be shared equally among its tiles.
        """
        tiles = processor.tiles if processor else 1
        if template.tokens_per_image % tiles:
            raise ValueError(
                f"the template has {template.tokens_per_image} placeholders for an image of {tiles} tiles: "
                "tokens_per_image must be tiles * tokens of a tile"
            )
        self.template, self.processor, self.max_images = template, processor, max_images
        self.eos_id, self.pad_id = template.eos_id, template.pad_id
        self.empty = Tiles(np.zeros((0, *processor.shape), np.float32)) if processor else None

    def prompt(self, text, images=(), videos=(), sounds=()) -> Prompt:
        limit = self.max_images if self.processor else 0
        if len(images) > limit:
            raise RecordError("prompt", f"has {len(images)} images, at most {limit} fit: raise `max_images`")
        if videos or sounds:
            raise RecordError("prompt", "has videos or recordings, and this model sees pictures only")
        ids = self.template.encode_prompt(text, len(images))
        placeholders = int((ids == self.template.image_id).sum())
        if placeholders != self.template.tokens_per_image * len(images):
            raise RecordError("prompt", f"'prompt' became {placeholders} placeholders for {len(images)} images")
        if self.empty is None:
            return Prompt(ids)
        return Prompt(ids, Tiles(np.concatenate([self.empty.pixels, *map(self.processor, images)])))

    def completion(self, text: str) -> np.ndarray:
        return self.template.encode_completion(text)

    def places(self, text: str) -> np.ndarray:
        return self.template.places(text)

    def decode(self, ids: Sequence[int]) -> str:
        return self.template.decode(ids)
