"""The contract of a processor: media in, arrays for a tower and text with placeholders out."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from align_jax.types import Media


@dataclasses.dataclass(frozen=True)
class Shown:
    """One picture, video or recording, ready for a prompt."""

    text: str  # what stands in the prompt for it: placeholders, and what a model wants around and between them
    placeholders: int  # how many of them; as many as there are entries of `media.slots`
    media: Media  # of it alone, without the axis of rows; slots count from its own first feature
    grid: tuple[int, int, int] = (1, 1, 1)  # of its placeholders: time, rows, columns; for models that rotate by them


class Processor(Protocol):
    """Picklable: every worker process receives a copy."""

    marks: Mapping[str, str]  # "image", "video", "audio", as far as it takes them -> what the chat template writes
    placeholders: tuple[str, ...]  # the tokens that features take the place of
    sample_rate: int  # of recordings, in Hz; 0 for a model that does not listen

    def images(self, images: Sequence[np.ndarray]) -> list[Shown]:
        """Pictures uint8[H, W, 3] of one prompt; together, since some models see several pictures with less detail."""

    def videos(self, videos: Sequence[Sequence[np.ndarray]]) -> list[Shown]:
        """Videos of one prompt, each its frames uint8[H, W, 3]."""

    def sounds(self, sounds: Sequence[np.ndarray]) -> list[Shown]:
        """Recordings of one prompt, f32[samples] at `sample_rate`."""

    def join(self, shown: Sequence[Shown]) -> Media:
        """The media of a whole prompt, in the order of their placeholders; axes of length 0 if there are none."""

    def positions(self, ids: np.ndarray, shown: Sequence[Shown]) -> np.ndarray | None:
        """i32[p, 3] for models that rotate by time, row and column; None for those that count tokens."""
