"""Several sources as one: pairs beside plain texts, general data beside safety data."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from align_jax import registry
from align_jax.data import sources
from align_jax.data.records import Record, Source


@registry.entry()
def mixture(*, parts: Sequence[Mapping[str, Any]]) -> "Mixture":
    """Records of all parts; the order of an epoch mixes them.

    Args:
      parts: each `{"name": source, ...}` with what that source takes, and optionally `repeat`: how often its records
        come in an epoch, 1 by default; with 0.5 every other record comes.

    Raises:
      ValueError: no parts, a part without a name, or a `repeat` that is not positive.
    """
    if not parts:
        raise ValueError("a mixture needs `parts`: a list of sources, each with its `name`")
    opened, index = [], []
    for i, part in enumerate(map(dict, parts)):
        repeat, name = part.pop("repeat", 1.0), part.pop("name", None)
        if name is None or repeat <= 0:
            raise ValueError(
                f"part {i} of the mixture has name {name!r} and repeat {repeat}: give both, repeat above 0"
            )
        opened.append(sources.build(name, **part))
        count = max(1, round(repeat * len(opened[-1])))
        rows = np.arange(count) * len(opened[-1]) // count if repeat < 1 else np.arange(count) % len(opened[-1])
        index.append(np.stack([np.full(count, i), rows], 1))
    return Mixture(tuple(opened), np.concatenate(index))


@dataclasses.dataclass(frozen=True)
class Mixture:
    """A source over other sources."""

    parts: tuple[Source, ...]
    index: np.ndarray = dataclasses.field(repr=False)  # i64[n, 2]: part, row of it

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, i: int) -> Record:
        part, row = map(int, self.index[i])
        record = self.parts[part][row]
        # Two files may both count their rows from 1.
        return dataclasses.replace(record, id=f"{part}/{record.id}")
