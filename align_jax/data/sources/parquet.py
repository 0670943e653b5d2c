"""Parquet: one record of the canonical schema (records.parse_record) in each row."""

import bisect
import collections
import glob
import itertools
import logging
import threading
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from align_jax import registry
from align_jax.data.records import Record, RecordError, parse_record


@registry.entry()
def parquet(*, path: str, root: str | None = None) -> "ParquetRecords":
    """Records of one or more parquet files. Images are paths, bytes, or structs of both, alone or in a list.

    Args:
      path: a file, a folder (all its `*.parquet`, so keep splits apart), or a pattern such as `data/train-*.parquet`.
      root: folder that image paths are relative to; the folder of each file if not given.

    Raises:
      FileNotFoundError: no file matches.
      ValueError: a file is not parquet, or there are no rows.
    """
    return ParquetRecords(ParquetRows(path), Path(root) if root else None)


class ParquetRecords:
    """A source over rows of the canonical schema."""

    def __init__(self, rows: "ParquetRows", root: Path | None):
        self.rows = rows
        self.root = root

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Record:
        row, file, where = self.rows[index]
        return parse_record(row, where, self.root or file.parent, default_id=str(index))


class ParquetRows:
    """Random access to the rows of parquet files, which can only be read by whole row groups.

    The last few row groups stay in memory, up to `cache_bytes` in each process. Where a data set is larger than that
    and read in random order, small row groups are what makes it fast.
    """

    def __init__(self, path: str, cache_bytes: int = 512 * 2**20):
        """Reads the footers only; the arguments and errors are those of `parquet`."""
        self.files = _find(path)
        self.cache_bytes = cache_bytes
        metas = [_footer(file) for file in self.files]
        groups = [(f, g, m.row_group(g)) for f, m in enumerate(metas) for g in range(m.num_row_groups)]
        self._groups = [(file, group) for file, group, _ in groups]
        self._ends = list(itertools.accumulate(info.num_rows for _, _, info in groups))
        self._file_starts = [0, *itertools.accumulate(m.num_rows for m in metas)]
        if not self._ends or not self._ends[-1]:
            raise ValueError(f"{path} holds no rows")
        total, rows = sum(info.total_byte_size for *_, info in groups), max(info.num_rows for *_, info in groups)
        if total > cache_bytes and rows > 100:
            logging.warning(
                "%s: %d MiB in row groups of up to %d rows, and each random read decodes a whole group. Rewrite it "
                "once with pyarrow.parquet.write_table(..., row_group_size=16) if loading is slow.",
                path, total // 2**20, rows,
            )  # fmt: skip
        self._reset()

    def _reset(self) -> None:
        self._cache: collections.OrderedDict[int, pa.Table] = collections.OrderedDict()
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_cache", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset()

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> tuple[dict[str, Any], Path, str]:
        """The row, its file, and `file row number` (from 0, within the file) for messages."""
        group = bisect.bisect_right(self._ends, index)
        start = self._ends[group - 1] if group else 0
        file = self._groups[group][0]
        where = f"{self.files[file]} row {index - self._file_starts[file]}"
        try:
            row = self._table(group).slice(index - start, 1).to_pylist()[0]
        except (pa.ArrowException, UnicodeDecodeError) as error:
            raise RecordError(where, f"cannot be decoded ({error}): write the file anew") from None
        return row, self.files[file], where

    def _table(self, group: int) -> pa.Table:
        with self._lock:  # held while reading, so that threads wait for a group rather than all decode it
            if group not in self._cache:
                file, number = self._groups[group]
                with pq.ParquetFile(self.files[file]) as reader:
                    self._cache[group] = reader.read_row_group(number, use_threads=False)
                while len(self._cache) > 1 and sum(t.nbytes for t in self._cache.values()) > self.cache_bytes:
                    self._cache.popitem(last=False)
            self._cache.move_to_end(group)
            return self._cache[group]


def _find(path: str) -> list[Path]:
    pattern = str(Path(path) / "*.parquet") if Path(path).is_dir() else path
    files = [Path(path)] if Path(path).is_file() else sorted(map(Path, glob.glob(pattern)))
    if not files:
        raise FileNotFoundError(f"no parquet file at {path}: check `path` (the current folder is {Path.cwd()})")
    return files


def _footer(file: Path) -> pq.FileMetaData:
    try:
        return pq.read_metadata(file)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(
            f"{file} cannot be read as parquet ({error}): is it complete, and not a Git LFS pointer?"
        ) from None
