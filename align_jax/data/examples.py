"""From records to examples: text to ids, media to arrays."""

import dataclasses
import zlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from align_jax.data.inputs import Inputs
from align_jax.data.media import MediaError, read_image, read_sound
from align_jax.data.records import Record, RecordError
from align_jax.types import Example, Prompt

Corrupt = Callable[[np.ndarray, np.random.Generator], np.ndarray]  # uint8[H, W, 3] -> uint8[H', W', 3]


@dataclasses.dataclass(frozen=True)
class Encode:
    """Record -> Example. Picklable if `views` are, as functions of a module are."""

    inputs: Inputs
    prompt_length: int  # P of PromptTree: prompt tokens without the last one, placeholders included
    completion_length: int  # R of PromptTree, the end-of-sequence token included
    completions: tuple[str, ...] = ()  # of "chosen", "rejected": what every record must have
    views: Mapping[str, Corrupt] = dataclasses.field(default_factory=dict)  # name -> other pictures for the same text
    two_sided: bool = False  # view "rejected": the pictures that the rejected answer is about
    max_items: int = 0  # tiles, recordings or patches of a record; 0: no limit of their own
    seed: int = 0  # of the views

    def __call__(self, record: Record) -> Example:
        """Encodes a record. A completion that is too long loses its tail, and its end-of-sequence token with it.

        Raises:
          RecordError: a required completion is missing, a picture or recording cannot be read, the model cannot take
            what is there, or the prompt is too long. Prompts are never cut: what is asked stands at their end, media
            anywhere.
        """
        for name in self.completions:
            if getattr(record, name) is None:
                raise RecordError(record.place, f"{name!r} is missing, and the method needs it: fill it in")
        if record.rejected_images is not None and not self.two_sided:
            raise RecordError(
                record.place, "has 'rejected_images': set data.two_sided to true, or leave them out of the record"
            )
        images = [_read(read_image, image, f"'images'[{i}]", record) for i, image in enumerate(record.images)]
        videos = [
            [_read(read_image, frame, f"'videos'[{i}][{t}]", record) for t, frame in enumerate(frames)]
            for i, frames in enumerate(record.videos)
        ]
        rate = getattr(self.inputs, "sample_rate", 0) or 16000
        sounds = [
            _read(lambda sound: read_sound(sound, rate), sound, f"'sounds'[{i}]", record)
            for i, sound in enumerate(record.sounds)
        ]
        views = {
            name: self._prompt(record, self._corrupt(name, images, record), videos, sounds) for name in self.views
        }
        prompt = self._prompt(record, images, videos, sounds)
        if self.two_sided and record.rejected_images is None:
            views["rejected"] = prompt
        elif self.two_sided:
            others = enumerate(record.rejected_images)
            other = [_read(read_image, image, f"'rejected_images'[{i}]", record) for i, image in others]
            views["rejected"] = self._prompt(record, other, videos, sounds)
        return Example(
            id=record.id,
            prompt=prompt,
            completions={
                name: self._completion(record, name, text)
                for name in ("chosen", "rejected")
                if (text := getattr(record, name)) is not None
            },
            views=views,
        )

    def _completion(self, record: Record, name: str, text: str) -> np.ndarray:
        try:
            return self.inputs.completion(text)[: self.completion_length]
        except RecordError as error:
            raise RecordError(record.place, f"{name!r} {error.reason}") from None

    def _prompt(self, record: Record, images, videos, sounds) -> Prompt:
        try:
            prompt = self.inputs.prompt(record.prompt, images, videos, sounds)
        except RecordError as error:
            raise RecordError(record.place, error.reason) from None
        size = len(prompt.ids) - 1
        if size > self.prompt_length:
            raise RecordError(
                record.place,
                f"'prompt' takes {size} tokens, those of its media included, and `prompt_length` is "
                f"{self.prompt_length}: raise it, shorten the prompt, or have its media take fewer tokens (options of "
                "`processor`)",
            )
        items = 0 if prompt.media is None else len(next(iter(vars(prompt.media).values())))
        if self.max_items and items > self.max_items:
            raise RecordError(
                record.place,
                f"its media take {items} tiles, patches or recordings, at most {self.max_items} fit: raise "
                "`media_items`, or leave the record out",
            )
        return prompt

    def _corrupt(self, name: str, images: Sequence[np.ndarray], record: Record) -> list[np.ndarray]:
        # Seeded by the record, so that policy and reference, and every epoch, see the same picture.
        generator = np.random.default_rng((self.seed, zlib.crc32(record.id.encode()), zlib.crc32(name.encode())))
        return [self.views[name](image, generator) for image in images]


def _read(read: Callable, source: bytes | str, field: str, record: Record) -> np.ndarray:
    try:
        return read(source)
    except MediaError as error:
        raise RecordError(record.place, f"{field}: {error}") from error
