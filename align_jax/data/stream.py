"""The rows of a source in the order of training, read and encoded ahead by threads or processes.

Broken records travel as values and are dropped at the end, in the main process. So the order does not depend on the
number of workers, the number of rows read so far is all there is to resume from, and rejects are counted in one place.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import grain
import numpy as np
from absl import flags

from align_jax.data.media import MediaError
from align_jax.data.records import Record, RecordError, Source
from align_jax.data.rejects import Rejects
from align_jax.types import Example, pytree

# Below this size a copy is cheaper than a segment of shared memory.
_OPTIONS = grain.experimental.DatasetOptions(min_shm_size=2**14)


@pytree
class Done:
    """A pytree, so that Grain sends its arrays through shared memory: a worker with a full pipe ends late."""

    fields: dict[str, Any]  # of the example
    record: Record | None  # None unless asked for: it may hold megabytes that need not leave the worker

    @property
    def example(self) -> Example:
        return Example(**self.fields)


@dataclasses.dataclass(frozen=True)
class Broken:
    where: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Attempt:
    """Row number -> what became of the row."""

    source: Source
    encode: Callable[[Record], Example]
    keep_record: bool = False

    def __call__(self, row: int) -> Done | Broken:
        place = f"row {row} of {type(self.source).__name__}"
        try:
            record = self.source[row]
            place = record.place
            return Done(vars(self.encode(record)), record if self.keep_record else None)
        except RecordError as error:
            return Broken(error.where, error.reason)
        except MediaError as error:
            return Broken(place, str(error))


@dataclasses.dataclass(frozen=True)
class Shard:
    """The part of `num_rows` rows that one of several hosts reads: equal parts, up to one row."""

    num_rows: int
    index: int = 0
    hosts: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.hosts:
            raise ValueError(f"shard {self.index} of {self.hosts} does not exist: count from 0")
        if self.num_rows < self.hosts:
            raise ValueError(f"{self.num_rows} records cannot be shared among {self.hosts} hosts")

    @property
    def size(self) -> int:
        """Rows of this host in an epoch."""
        return -(-(self.num_rows - self.index) // self.hosts)

    @property
    def largest(self) -> int:
        """Rows of the host that has most of them."""
        return -(-self.num_rows // self.hosts)

    def order(self, seed: int | None, epochs: int | None) -> grain.MapDataset:
        """Row numbers; shuffled anew in each epoch if there is a seed. All epochs if `epochs` is None."""
        rows = grain.MapDataset.range(self.num_rows)
        if seed is not None:
            # Grain takes seed + epoch: neighbouring seeds would give the same orders, one epoch apart.
            rows = rows.shuffle(seed=int(np.random.SeedSequence(seed).generate_state(1)[0]))
        return rows[self.index :: self.hosts].repeat(epochs)


def start(order: grain.MapDataset, attempt: Attempt, workers: int, position: int) -> grain.DatasetIterator:
    """Iterates over `Done | Broken`, from row `position` of the order on."""
    rows = order.slice(slice(position, None)).map(attempt)
    # By default Grain keeps 500 elements ready: gigabytes, where an element holds pictures.
    dataset = rows.to_iter_dataset(grain.ReadOptions(num_threads=4, prefetch_buffer_size=16))
    if workers:
        if not flags.FLAGS.is_parsed():  # in notebooks and plain scripts; Grain would raise UnparsedFlagAccessError
            flags.FLAGS.mark_as_parsed()
        dataset = grain.experimental.WithOptionsIterDataset(dataset, _OPTIONS)
        dataset = dataset.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=4))
    return iter(dataset)


class Good:
    """Iterates over what was done, hands what was broken to `rejects`, and knows its position."""

    def __init__(self, rows: grain.DatasetIterator, rejects: Rejects, shard: Shard, position: int = 0):
        self.position = position  # rows consumed, broken ones included
        self._rows = rows
        self._rejects = rejects
        self._broken_in_a_row = 0
        # Two epochs, since a single good row may be the first of one and the last of the next.
        self._most_in_a_row = 2 * shard.size
        self._may_be_empty = position > 0

    def __iter__(self) -> "Good":
        return self

    def __next__(self) -> Done:
        """Raises TooManyRejects over the limit of `rejects`; whatever the limit, if there is no good row."""
        for row in self._rows:
            self.position += 1
            if isinstance(row, Done):
                self._broken_in_a_row, self._may_be_empty = 0, True
                return row
            self._rejects.add(row.where, row.reason)
            self._broken_in_a_row += 1
            if self._broken_in_a_row >= self._most_in_a_row:
                raise self._rejects.exhausted()
        if not self._may_be_empty:
            raise self._rejects.exhausted()
        raise StopIteration

    def close(self) -> None:
        """Ends worker processes."""
        self._rows.close()
