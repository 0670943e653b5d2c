"""From a source to batches that can be checkpointed and resumed."""

import itertools
from collections.abc import Callable, Iterator

import grain

from align_jax.data.records import Record, Source
from align_jax.data.rejects import Rejects
from align_jax.data.stream import Attempt, Good, Shard, start
from align_jax.types import Batch, Example, PackTree


def batches(
    source: Source,
    encode: Callable[[Record], Example],
    batch_type: type[Batch],
    packer: PackTree,
    *,
    rejects: Rejects,
    batch_size: int,
    seed: int,
    shuffle: bool = True,
    epochs: int | None = None,
    workers: int = 0,
    shard: tuple[int, int] = (0, 1),
    prefetch: int = 2,
) -> grain.IterDataset:
    """Batches of a source, as `batch_type.pack(examples, packer)` makes them.

    Iterators have `get_state` and `set_state`, and go on with exactly the batch that would have come next. A state may
    be given to an iterator with other `workers` or `prefetch`, but needs the same source, seed and shard. `close()` an
    iterator that is left before its end: it may hold processes.

    Args:
      source: the records; picklable, as is `encode`, if there are workers.
      encode: record -> example.
      batch_type: a batch class of types.py, or of a loss.
      packer: pads examples; its `batch_size` must be the one given here.
      rejects: receives what raised RecordError or MediaError; any other exception ends the iteration.
      batch_size: rows of a batch on this host.
      seed: of the order; not negative.
      shuffle: a new order in each epoch; False keeps the order of the source.
      epochs: passes over the source; None goes on for ever. Batches run across the end of an epoch; only the very last
        one may be partial, and is filled with rows of weight 0.
      workers: processes that read and encode; 0 uses threads of this process. A script that uses workers must start
        under `if __name__ == "__main__":`, since they import it. Pictures travel through /dev/shm, which containers
        often limit to 64 MiB: a worker that dies with exit code -7 needs more of it.
      shard: index and number of this host. In each epoch every record goes to exactly one host. If `epochs` is finite,
        all hosts yield equally many batches: those that run out earlier end with batches of weight 0.
      prefetch: batches to prepare ahead; 0 prepares each when it is asked for.

    Raises:
      ValueError: the arguments contradict each other, or there are fewer records than hosts.
      TooManyRejects: when iterating; more records are broken than `rejects` allows, or all are.
    """
    if batch_size != packer.batch_size:
        raise ValueError(f"batch_size is {batch_size}, but the packer makes batches of {packer.batch_size}")
    part = Shard(len(source), *shard)
    order = part.order(seed if shuffle else None, epochs)
    attempt = Attempt(source, encode)
    dataset = _Batches(
        open_at=lambda position: Good(start(order, attempt, workers, position), rejects, part, position),
        pack=lambda examples: batch_type.pack(examples, packer),
        batch_size=batch_size,
        # One host alone just ends: filling up is for hosts that would wait for each other.
        steps=-(-part.largest * epochs // batch_size) if epochs is not None and part.hosts > 1 else None,
    )
    return (
        grain.experimental.ThreadPrefetchIterDataset(dataset, prefetch_buffer_size=prefetch) if prefetch else dataset
    )


def in_order(
    source: Source,
    encode: Callable[[Record], Example],
    *,
    rejects: Rejects,
    batch_size: int,
    workers: int = 0,
    shard: tuple[int, int] = (0, 1),
) -> Iterator[tuple[list[Record], list[Example]]]:
    """One pass over a source in its order, for evaluation: up to `batch_size` records and their examples at a time.

    Args and errors are those of `batches`. With several hosts, each gets its own records, and may get fewer batches.
    """
    part = Shard(len(source), *shard)
    attempt = Attempt(source, encode, keep_record=True)
    good = Good(start(part.order(None, epochs=1), attempt, workers, position=0), rejects, part)
    try:
        while done := list(itertools.islice(good, batch_size)):
            yield [each.record for each in done], [each.example for each in done]
    finally:
        good.close()


class _Batches(grain.IterDataset):
    def __init__(
        self,
        open_at: Callable[[int], Good],
        pack: Callable[[list[Example]], Batch],
        batch_size: int,
        steps: int | None,
    ):
        super().__init__()
        self.open_at = open_at
        self.pack = pack
        self.batch_size = batch_size
        self.steps = steps

    def __iter__(self) -> "_BatchIterator":
        return _BatchIterator(self)


class _BatchIterator(grain.DatasetIterator):
    """Its state is how many batches it made, and how many rows it consumed for them, broken ones included."""

    def __init__(self, dataset: _Batches):
        super().__init__()
        self._dataset = dataset
        self._state = {"step": 0, "position": 0}
        self._good: Good | None = None

    def __next__(self) -> Batch:
        if self._good is None:  # not before the first batch, so that resuming does not start workers twice
            self._good = self._dataset.open_at(self._state["position"])
        steps = self._dataset.steps
        if steps is not None and self._state["step"] >= steps:
            raise StopIteration
        done = list(itertools.islice(self._good, self._dataset.batch_size))
        if not done and steps is None:
            raise StopIteration
        batch = self._dataset.pack([each.example for each in done])
        self._state = {"step": self._state["step"] + 1, "position": self._good.position}
        return batch

    def get_state(self) -> dict[str, int]:
        return dict(self._state)

    def set_state(self, state: dict[str, int]) -> None:
        self._stop()
        self._state = dict(state)

    def close(self) -> None:
        self._closed = True
        self._stop()

    def _stop(self) -> None:
        if self._good is not None:
            self._good.close()
            self._good = None
