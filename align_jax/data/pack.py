"""From examples to prompt trees of static shape. The shift by one between tokens and targets happens here only."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from align_jax.types import Example, Media, PromptTree


@dataclasses.dataclass(frozen=True)
class TreePacker:
    """Pads examples into a `PromptTree`; implements `types.PackTree`. Padding stands on the right."""

    batch_size: int  # B
    prompt_length: int  # P, without the last token of the prompt
    completion_length: int  # R
    num_images: int  # N, counted in tiles; 0 for text only
    image_shape: tuple[int, int, int]  # height, width and channels of a tile
    pad_id: int

    def __call__(self, examples: Sequence[Example], completions: Sequence[str], view: str | None = None) -> PromptTree:
        """Packs `completions` (names) of up to `batch_size` examples, which may be none.

        Returns:
          A tree of NumPy arrays, int32 and float32. Rows past the last example, tiles past the last of a row and
          tokens past the last of a text are padding: mask 0, pixels 0.

        Raises:
          ValueError: an example lacks a completion or view, or is larger than the tree.
        """
        rows, names = self.batch_size, tuple(completions)
        if len(examples) > rows:
            raise ValueError(f"{len(examples)} examples do not fit into a batch of {rows}")
        prompt = np.full((rows, self.prompt_length), self.pad_id, np.int32)
        prompt_mask = np.zeros(prompt.shape, np.float32)
        targets = np.full((rows, len(names), self.completion_length), self.pad_id, np.int32)
        tokens = targets.copy()
        mask = np.zeros(targets.shape, np.float32)
        for row, example in enumerate(examples):
            size = len(example.prompt) - 1
            self._check(example, "prompt", size, self.prompt_length)
            prompt[row, :size] = example.prompt[:-1]
            prompt_mask[row, :size] = 1.0
            for k, name in enumerate(names):
                target = _named(example, "completion", example.completions, name)
                size = len(target)
                self._check(example, name, size, self.completion_length)
                targets[row, k, :size] = target
                tokens[row, k, 0] = example.prompt[-1]
                tokens[row, k, 1:size] = target[:-1]
                mask[row, k, :size] = 1.0
        return PromptTree(prompt, prompt_mask, self._media(examples, view), tokens, targets, mask)

    def _media(self, examples: Sequence[Example], view: str | None) -> Media | None:
        pixels = np.zeros((self.batch_size, self.num_images, *self.image_shape), np.float32)
        for row, example in enumerate(examples):
            images = example.images if view is None else _named(example, "view", example.views, view)
            self._check(example, "images", len(images), self.num_images)
            if len(images) and images.shape[1:] != tuple(self.image_shape):
                raise ValueError(f"example {example.id!r}: tiles of {images.shape[1:]}, expected {self.image_shape}")
            if len(images):
                pixels[row, : len(images)] = images
        return Media(pixels) if self.num_images else None

    def _check(self, example: Example, what: str, size: int, room: int) -> None:
        if size > room:
            raise ValueError(f"example {example.id!r}: {what} of {size} where {room} fit; Encode must be set up alike")


def _named(example: Example, kind: str, entries: dict[str, np.ndarray], name: str) -> np.ndarray:
    if name not in entries:
        raise ValueError(f"example {example.id!r} has no {kind} {name!r}; it has: {', '.join(entries) or 'none'}")
    return entries[name]
