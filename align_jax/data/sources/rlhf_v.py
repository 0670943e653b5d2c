"""RLHF-V: 5,733 answers about images with the hallucinated segments corrected by people (arXiv:2312.00849).

`openbmb/RLHF-V-Dataset` on Hugging Face (CC BY-NC 4.0), to be downloaded by the user. The schema, and nothing else of
the data, is known here: `image` is {bytes, path}, `text` is JSON text with "question", "chosen" and "rejected".
"""

import json
from typing import Any

from align_jax import registry
from align_jax.data.records import Record, RecordError, parse_record
from align_jax.data.sources.parquet import ParquetRows


@registry.entry()
def rlhf_v(*, path: str) -> "RlhfV":
    """Pairs of the RLHF-V data set, or of any other in its format.

    Args:
      path: a parquet file, a folder of them, or a pattern.

    Raises:
      FileNotFoundError, ValueError: as the source `parquet`.
    """
    return RlhfV(ParquetRows(path))


class RlhfV:
    """A source; the columns besides `image` and `text` go to `meta`."""

    def __init__(self, rows: ParquetRows):
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Record:
        row, file, where = self.rows[index]
        text = _text(row, where)
        if missing := [key for key in ("question", "chosen", "rejected") if text.get(key) is None]:
            raise RecordError(where, f"'text' lacks {', '.join(missing)}: is this the RLHF-V format?")
        canonical = {k: v for k, v in row.items() if k not in ("text", "id", "prompt", "images")}
        canonical |= {"prompt": text["question"], "chosen": text["chosen"], "rejected": text["rejected"]}
        return parse_record(canonical, where, file.parent, default_id=str(row.get("idx", index)))


def _text(row: dict[str, Any], where: str) -> dict[str, Any]:
    """`text` decoded: text in the published files, a struct where somebody has decoded it already."""
    text = row.get("text")
    if isinstance(text, str):
        try:
            text = json.loads(text)
        except ValueError as error:
            raise RecordError(where, f"'text' is not JSON ({error}): is this the RLHF-V format?") from None
    if not isinstance(text, dict):
        raise RecordError(
            where, f"'text' must be a JSON object (the row has: {', '.join(row)}): is this the RLHF-V format?"
        )
    return text
