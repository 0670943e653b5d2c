"""Writes records as canonical JSON lines, the format that `data/sources/jsonl.py` reads."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from align_jax.data.records import FIELDS, Record


def save(path: str | os.PathLike, records: Iterable[Record]) -> int:
    """Writes `path`, whole or not at all, and the encoded images in `<name of path>_images/` beside it.

    A line has "id", "prompt", "images", "chosen" and "rejected" where there is one, and the entries of `meta` as
    further fields, so that the source gives them back as `meta`. Images that are encoded bytes go to files named by
    their content, one for all records that share it; those that are paths are written relative to the folder of
    `path`, which must hold them.

    Returns:
      The number of records.

    Raises:
      ValueError: an image path is outside of the folder, or an entry of `meta` is called like a field.
      TypeError: `meta` holds what JSON cannot.
    """
    target = Path(path).absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    count = 0
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            for count, record in enumerate(records, 1):  # noqa: B007
                file.write(json.dumps(_row(record, target), ensure_ascii=False) + "\n")
        os.chmod(partial, 0o644)  # mkstemp makes it unreadable for others
        os.replace(partial, target)
    except BaseException:
        os.unlink(partial)
        raise
    return count


def _row(record: Record, target: Path) -> dict[str, Any]:
    if clash := sorted(set(record.meta) & set(FIELDS)):
        raise ValueError(f"meta of {record.id!r} has entries that are called like fields: {', '.join(clash)}")
    row = {"id": record.id, "prompt": record.prompt, "images": [_image(i, target) for i in record.images]}
    row |= {k: v for k, v in (("chosen", record.chosen), ("rejected", record.rejected)) if v is not None}
    return row | dict(record.meta)


def _image(image: bytes | str, target: Path) -> str:
    if isinstance(image, str):
        file = Path(os.path.abspath(image))
        if not file.is_relative_to(target.parent):
            raise ValueError(f"{file} is outside of {target.parent}, where the records are to be written")
        return file.relative_to(target.parent).as_posix()
    suffix = "png" if image.startswith(b"\x89PNG") else "jpg" if image.startswith(b"\xff\xd8") else "img"
    file = target.with_name(f"{target.stem}_images") / f"{hashlib.sha256(image).hexdigest()[:24]}.{suffix}"
    if not file.exists():
        file.parent.mkdir(exist_ok=True)
        partial = file.with_suffix(".partial")  # what exists under the final name is taken to be whole
        partial.write_bytes(image)
        os.replace(partial, file)
    return file.relative_to(target.parent).as_posix()
