"""Broken records: written to a file, counted, and fatal beyond a limit."""

import json
import os
import tempfile
import uuid
from pathlib import Path

SHOWN = 3


class TooManyRejects(RuntimeError):
    """More records are broken than was allowed, or none is left."""


def none_allowed() -> "Rejects":
    """For data that must be whole: the first broken record ends everything."""
    return Rejects(Path(tempfile.gettempdir()) / f"align_jax_rejects_{uuid.uuid4().hex}.jsonl", limit=0)


class Rejects:
    """Counts the distinct records that could not be used, and writes a JSON line `{where, reason}` for each to a file.

    The count is of this object: it starts at 0 when a run is resumed, and a record that is met again in a later epoch
    counts once. The file is only appended to, with one write for a line, so that several processes can share it; lines
    that an earlier run has left there are not repeated.
    """

    def __init__(self, path: str | Path, limit: int):
        """
        Args:
          path: file to append to; its folder is made when the first reject comes.
          limit: how many distinct records may be broken. 0 makes the first one fatal.
        """
        self.path = Path(path)
        self.limit = limit
        self._reasons: dict[str, str] = {}
        self._written: set[str] | None = None  # lines of the file, read when the first reject comes

    @property
    def count(self) -> int:
        return len(self._reasons)

    def add(self, where: str, reason: str) -> None:
        """Notes a broken record.

        Raises:
          TooManyRejects: this one is over the limit.
        """
        if where in self._reasons:
            return
        self._reasons[where] = reason
        self._write(json.dumps({"where": where, "reason": reason}))
        if self.count > self.limit:
            raise TooManyRejects(
                f"{self.count} broken records are more than the {self.limit} that are allowed: mend them, or raise "
                f"the limit with data.max_reject_fraction. {self.summary()}"
            )

    def exhausted(self) -> TooManyRejects:
        """The exception for a data set without a single good record."""
        return TooManyRejects(f"there is no good record, and no limit can help: mend the data. {self.summary()}")

    def summary(self) -> str:
        """How many, where they are listed, and the first few."""
        if not self.count:
            return "No broken records."
        first = [f"\n  {where}: {reason}" for where, reason in list(self._reasons.items())[:SHOWN]]
        more = f"\n  and {self.count - SHOWN} more" if self.count > SHOWN else ""
        return f"{self.count} broken records, listed in {self.path}:{''.join(first)}{more}"

    def _write(self, line: str) -> None:
        if self._written is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._written = set(self.path.read_text().splitlines()) if self.path.exists() else set()
        if line in self._written:
            return
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(file, f"{line}\n".encode())
        finally:
            os.close(file)
