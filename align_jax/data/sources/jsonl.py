"""JSON lines: one record of the canonical schema (records.parse_record) on each line."""

import dataclasses
import json
from pathlib import Path

import numpy as np

from align_jax import registry
from align_jax.data.records import Record, RecordError, parse_record


@registry.entry()
def jsonl(*, path: str, root: str | None = None) -> "JsonLines":
    """Records of a JSON lines file; blank lines are skipped.

    Args:
      path: the file.
      root: folder of the images; the folder of the file if not given.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it holds no lines, or is not JSON lines at all.
    """
    file = Path(path)
    if file.is_dir():
        raise ValueError(f"{file} is a folder: name one .jsonl file in it")
    if not file.exists():
        raise FileNotFoundError(f"there is no file {file}: check `path` (the current folder is {Path.cwd()})")
    spans = _index(file)
    if not len(spans):
        raise ValueError(f"{file} holds no records: write one JSON object on each line")
    return JsonLines(file, Path(root) if root else file.parent, spans)


@dataclasses.dataclass(frozen=True)
class JsonLines:
    """A source over the lines of a file, which is opened anew for each read: safe in threads, nothing to pickle."""

    path: Path
    root: Path
    spans: np.ndarray = dataclasses.field(repr=False)  # i64[n, 3]: line number from 1, first byte, number of bytes

    def __len__(self) -> int:
        return len(self.spans)

    def __getitem__(self, index: int) -> Record:
        line, start, size = map(int, self.spans[index])
        where = f"{self.path}:{line}"
        with open(self.path, "rb") as file:
            file.seek(start)
            text = file.read(size)
        try:
            row = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise RecordError(where, f"not JSON ({error}): each line must be one complete JSON object") from None
        return parse_record(row, where, self.root, default_id=str(line))


def _index(path: Path) -> np.ndarray:
    """i64[n, 3]: line number, offset and length of every line that is not blank."""
    spans, start = [], 0
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                if not spans:
                    _check_start(path, line)
                spans.append((number, start, len(line)))
            start += len(line)
    return np.array(spans, np.int64).reshape(-1, 3)


def _check_start(path: Path, line: bytes) -> None:
    """Two mistakes that would otherwise break every single row, with a less helpful message."""
    if line.startswith(b"\x1f\x8b"):
        raise ValueError(f"{path} is gzipped: unpack it first (gunzip), since rows are read in random order")
    if line.lstrip(b"\xef\xbb\xbf \t").startswith(b"["):
        raise ValueError(f"{path} holds a JSON array: write one object on each line, as by jq -c '.[]' {path}")
