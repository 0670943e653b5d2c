"""From records to examples: text to ids, images to pixels."""

import dataclasses
import zlib
from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from align_jax.data.media import ImageProcessor, MediaError, read_image
from align_jax.data.records import Record, RecordError
from align_jax.types import Example

Corrupt = Callable[[np.ndarray, np.random.Generator], np.ndarray]  # uint8[H, W, 3] -> uint8[H', W', 3]


class Template(Protocol):
    """What encoding needs of a template; data/templates.py has the one for models trained here."""

    tokens_per_image: int
    image_id: int

    def encode_prompt(self, text: str, num_images: int) -> np.ndarray: ...  # i32[p]

    def encode_completion(self, text: str) -> np.ndarray: ...  # i32[r], ends with the end-of-sequence token


@dataclasses.dataclass(frozen=True)
class Encode:
    """Record -> Example. Picklable if `views` are, as functions of a module are."""

    template: Template
    processor: ImageProcessor | None  # None: text only
    prompt_length: int  # P of PromptTree: prompt tokens without the last one, placeholders included
    completion_length: int  # R of PromptTree, the end-of-sequence token included
    completions: tuple[str, ...] = ()  # of "chosen", "rejected": what every record must have
    views: Mapping[str, Corrupt] = dataclasses.field(default_factory=dict)  # name -> other pictures for the same text
    max_images: int = 1  # of a record
    seed: int = 0  # of the views

    def __post_init__(self) -> None:
        """Raises ValueError if the placeholders of an image cannot be shared equally among its tiles."""
        tiles = self.processor.tiles if self.processor else 1
        if self.template.tokens_per_image % tiles:
            raise ValueError(
                f"the template has {self.template.tokens_per_image} placeholders for an image of {tiles} tiles: "
                "tokens_per_image must be tiles * tokens of a tile"
            )

    def __call__(self, record: Record) -> Example:
        """Encodes a record. A completion that is too long loses its tail, and its end-of-sequence token with it.

        Raises:
          RecordError: a required completion is missing, there are more than `max_images` images, an image cannot be
            read, or the prompt is too long. Prompts are never cut: what is asked stands at their end, images anywhere.
        """
        self._check(record)
        images = [_read(image, i, record) for i, image in enumerate(record.images)]
        return Example(
            id=record.id,
            prompt=self._prompt(record),
            images=self._pixels(images),
            completions={
                name: self.template.encode_completion(text)[: self.completion_length]
                for name in ("chosen", "rejected")
                if (text := getattr(record, name)) is not None
            },
            views={name: self._view(name, images, record) for name in self.views},
        )

    def _check(self, record: Record) -> None:
        for name in self.completions:
            if getattr(record, name) is None:
                raise RecordError(record.place, f"{name!r} is missing, and the method needs it: fill it in")
        limit = self.max_images if self.processor else 0
        if len(record.images) > limit:
            raise RecordError(
                record.place, f"has {len(record.images)} images, at most {limit} fit: raise `max_images`"
            )

    def _prompt(self, record: Record) -> np.ndarray:
        try:
            ids = self.template.encode_prompt(record.prompt, len(record.images))
        except RecordError as error:
            raise RecordError(record.place, error.reason) from None
        placeholders = int((ids == self.template.image_id).sum())
        if placeholders != self.template.tokens_per_image * len(record.images):
            raise RecordError(
                record.place, f"'prompt' became {placeholders} placeholders for {len(record.images)} images"
            )
        if len(ids) - 1 > self.prompt_length:
            raise RecordError(
                record.place,
                f"'prompt' takes {len(ids) - 1} tokens, {placeholders} of them for images, and `prompt_length` is "
                f"{self.prompt_length}: raise it, or shorten the prompt",
            )
        return ids

    def _pixels(self, images: list[np.ndarray]) -> np.ndarray:
        """f32[n, H, W, 3]: the tiles of all images, one after the other."""
        if self.processor is None:
            return np.zeros((0, 1, 1, 3), np.float32)
        return np.concatenate([np.zeros((0, *self.processor.shape), np.float32), *map(self.processor, images)])

    def _view(self, name: str, images: list[np.ndarray], record: Record) -> np.ndarray:
        # Seeded by the record, so that policy and reference, and every epoch, see the same picture.
        generator = np.random.default_rng((self.seed, zlib.crc32(record.id.encode()), zlib.crc32(name.encode())))
        return self._pixels([self.views[name](image, generator) for image in images])


def _read(image: bytes | str, index: int, record: Record) -> np.ndarray:
    try:
        return read_image(image)
    except MediaError as error:
        raise RecordError(record.place, f"'images'[{index}]: {error}") from error
