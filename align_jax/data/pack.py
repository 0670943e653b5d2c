"""From examples to prompt trees of static shape. The shift by one between tokens and targets happens here only."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from align_jax.types import Example, Media, Patches, Prompt, PromptTree


@dataclasses.dataclass(frozen=True)
class TreePacker:
    """Pads examples into a `PromptTree`; implements `types.PackTree`. Padding stands on the right."""

    batch_size: int  # B
    prompt_length: int  # P, without the last token of the prompt
    completion_length: int  # R
    pad_id: int
    empty: Media | None = None  # media of a prompt without any; None: the model only reads
    turned: bool = False  # whether prompts have positions of their own
    # Tiles, recordings or patches of a row. 0: as many as a batch needs, rounded up so that there are few shapes.
    items: int = 0

    def __call__(self, examples: Sequence[Example], completions: Sequence[str], view: str | None = None) -> PromptTree:
        """Packs `completions` (names) of up to `batch_size` examples, which may be none.

        Returns:
          A tree of NumPy arrays, int32 and float32. Rows past the last example, and what lies past the end of a text
          or of a row's media, are padding: 0 in every mask.

        Raises:
          ValueError: an example lacks a completion or view, or is larger than the tree.
        """
        rows, names = self.batch_size, tuple(completions)
        if len(examples) > rows:
            raise ValueError(f"{len(examples)} examples do not fit into a batch of {rows}")
        prompts = [e.prompt if view is None else _named(e, "view", e.views, view) for e in examples]
        ids = np.full((rows, self.prompt_length), self.pad_id, np.int32)
        prompt_mask = np.zeros(ids.shape, np.float32)
        positions, start = np.zeros((*ids.shape, 3), np.int32), np.zeros(rows, np.int32)
        targets = np.full((rows, len(names), self.completion_length), self.pad_id, np.int32)
        tokens = targets.copy()
        mask = np.zeros(targets.shape, np.float32)
        for row, (example, prompt) in enumerate(zip(examples, prompts, strict=True)):
            size = len(prompt.ids) - 1
            _check(example, "prompt", size, self.prompt_length)
            ids[row, :size] = prompt.ids[:-1]
            prompt_mask[row, :size] = 1.0
            if self.turned:
                positions[row, :size] = prompt.positions[:-1]
                start[row] = prompt.positions[-1].max()
            for k, name in enumerate(names):
                target = _named(example, "completion", example.completions, name)
                size = len(target)
                _check(example, name, size, self.completion_length)
                targets[row, k, :size] = target
                tokens[row, k, 0] = prompt.ids[-1]
                tokens[row, k, 1:size] = target[:-1]
                mask[row, k, :size] = 1.0
        turns = (positions, start) if self.turned else ()
        return PromptTree(ids, prompt_mask, self._media(examples, prompts), tokens, targets, mask, *turns)

    def _media(self, examples: Sequence[Example], prompts: Sequence[Prompt]) -> Media | None:
        if self.empty is None:
            return None
        media = [self.empty if prompt.media is None else prompt.media for prompt in prompts]
        kind = type(self.empty)
        counts = [_items(each) for each in media]
        room = self.items or few_sizes(max(counts, default=0), 64 if kind is Patches else 1)
        for example, count in zip(examples, counts, strict=True):
            _check(example, "media", count, room)
        fields = {}
        for name, blank in vars(self.empty).items():
            length, rows = self.prompt_length if name in ("slots", "weights") else room, [vars(m)[name] for m in media]
            fields[name] = None if blank is None else _stack(examples, rows, blank, self.batch_size, length)
        return kind(**fields)


def few_sizes(need: int, multiple: int) -> int:
    """The least of 1 to 8, 10, 12, 14, 16, 20, 24, 28, ... multiples that holds `need`: at most a fifth in excess."""
    units = max(-(-need // multiple), 1)
    step = max(1 << (units - 1).bit_length() - 3, 1) if units > 8 else 1
    return -(-units // step) * step * multiple


def _items(media: Media) -> int:
    """Tiles, recordings or patches of a row."""
    return len(next(iter(vars(media).values())))


def _stack(
    examples: Sequence[Example], rows: Sequence[np.ndarray], blank: np.ndarray, batch_size: int, length: int
) -> np.ndarray:
    """[batch_size, length, ...]: rows [n, ...], one of each example, each filled up with zeros."""
    out = np.zeros((batch_size, length, *blank.shape[1:]), blank.dtype)
    for example, row, values in zip(examples, out, rows, strict=False):
        if values.shape[1:] != blank.shape[1:]:
            raise ValueError(
                f"example {example.id!r}: media of shape {values.shape[1:]}, expected {blank.shape[1:]}; "
                "Encode must be set up alike"
            )
        row[: len(values)] = values
    return out


def _check(example: Example, what: str, size: int, room: int) -> None:
    if size > room:
        raise ValueError(f"example {example.id!r}: {what} of {size} where {room} fit; Encode must be set up alike")


def _named(example: Example, kind: str, entries: dict, name: str):
    if name not in entries:
        raise ValueError(f"example {example.id!r} has no {kind} {name!r}; it has: {', '.join(entries) or 'none'}")
    return entries[name]
