"""From records to examples: text to ids, media to arrays."""

import dataclasses
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from align_jax.data.inputs import Inputs
from align_jax.data.media import MediaError, read_image, read_sound
from align_jax.data.records import Record, RecordError
from align_jax.types import Example, Prompt, Reads, Span

Corrupt = Callable[[np.ndarray, np.random.Generator], np.ndarray]  # uint8[H, W, 3] -> uint8[H', W', 3]


@dataclasses.dataclass(frozen=True)
class Encode:
    """Record -> Example. Picklable if `views` are, as functions of a module are."""

    inputs: Inputs
    prompt_length: int  # P of PromptTree: prompt tokens without the last one, placeholders included
    completion_length: int  # R of PromptTree, the end-of-sequence token included
    reads: Reads = Reads()  # what every record must have
    views: Mapping[str, Corrupt] = dataclasses.field(default_factory=dict)  # name -> other pictures for the same text
    two_sided: bool = False  # view "rejected": the pictures that the rejected answer is about
    max_items: int = 0  # tiles, recordings or patches of a record; 0: no limit of their own
    seed: int = 0  # of the views

    def __call__(self, record: Record) -> Example:
        """Encodes a record. A completion that is too long loses its tail, and its end-of-sequence token with it.

        Raises:
          RecordError: something that the method reads is missing, a picture or recording cannot be read, the model
            cannot take what is there, or the prompt is too long. Prompts are never cut: what is asked stands at their
            end, media anywhere.
        """
        texts = {"chosen": record.chosen, "rejected": record.rejected, **record.answers}
        wanted = {"chosen", "rejected", *self.reads.completions}
        texts = {name: text for name, text in texts.items() if text is not None and name in wanted}
        self._check(record, texts)
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
        views = {}
        for name in self.views:
            worse, *frames = (self._corrupt(name, each, record) for each in (images, *videos))
            views[name] = self._prompt(record, worse, frames, sounds)
        for name in set(self.reads.views) - set(views):
            other = [_read(read_image, x, f"'views'[{name!r}][{i}]", record) for i, x in enumerate(record.views[name])]
            views[name] = self._prompt(record, other, videos, sounds)
        prompt = self._prompt(record, images, videos, sounds)
        if self.two_sided and record.rejected_images is None:
            views["rejected"] = prompt
        elif self.two_sided:
            others = enumerate(record.rejected_images)
            other = [_read(read_image, image, f"'rejected_images'[{i}]", record) for i, image in others]
            views["rejected"] = self._prompt(record, other, videos, sounds)
        example = Example(
            id=record.id,
            prompt=prompt,
            completions={name: self._completion(record, name, text) for name, text in texts.items()},
            views=views,
            ranked=[self._completion(record, "ranked", text) for text in record.ranked[: self.reads.ranked]],
            ranked_scores=list(record.scores[: self.reads.ranked]),
            numbers={name: float(record.meta[name]) for name in self.reads.numbers},
            spans={name: self._spans(record, texts[name], record.spans[name]) for name in texts.keys() & record.spans},
        )
        if self.reads.check and (reason := self.reads.check(example)):
            raise RecordError(record.place, reason)
        return example

    def _check(self, record: Record, texts: Mapping[str, str]) -> None:
        reads, meta = self.reads, record.meta
        own = ("chosen", "rejected")
        lacks = [repr(n) if n in own else f"'answers'[{n!r}]" for n in reads.completions if n not in texts]
        lacks += [f"'spans'[{name!r}]" for name in reads.spans if name not in record.spans]
        lacks += [f"'views'[{n!r}] (or data.views.{n})" for n in reads.views if n not in {*self.views, *record.views}]
        lacks += [f"{name!r}, a number," for name in reads.numbers if not _finite(meta.get(name))]
        if reads.ranked and len(record.ranked) < 2:
            lacks.append("'ranked', two or more answers,")
        if lacks:
            raise RecordError(record.place, f"{lacks[0]} is missing, and the method needs it: fill it in")
        if record.rejected_images is not None and not self.two_sided:
            raise RecordError(
                record.place, "has 'rejected_images': set data.two_sided to true, or leave them out of the record"
            )

    def _completion(self, record: Record, name: str, text: str) -> np.ndarray:
        try:
            return self.inputs.completion(text)[: self.completion_length]
        except RecordError as error:
            raise RecordError(record.place, f"{name!r} {error.reason}") from None

    def _spans(self, record: Record, text: str, spans: Sequence[Span]) -> list[Span]:
        """From characters to tokens: those that share a character with the span, and were not cut off."""
        try:
            starts, ends = self.inputs.places(text)[: self.completion_length].T
        except RecordError as error:
            raise RecordError(record.place, f"'spans': a {error.where} {error.reason}") from None
        found = []
        for span in spans:
            inside = np.flatnonzero((starts < span.end) & (ends > span.start))
            if len(inside):
                found.append(Span(int(inside[0]), int(inside[-1]) + 1, span.label))
        return found

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


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _read(read: Callable, source: bytes | str, field: str, record: Record) -> np.ndarray:
    try:
        return read(source)
    except MediaError as error:
        raise RecordError(record.place, f"{field}: {error}") from error
