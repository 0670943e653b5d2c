"""Writes records as canonical JSON lines, the format that `data/sources/jsonl.py` reads."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from align_jax.data.records import FIELDS, Record

# First bytes of a file -> its suffix, for people: whoever reads the files goes by their bytes.
SUFFIXES = {
    "images": {b"\x89PNG": "png", b"\xff\xd8": "jpg", b"RIFF": "webp", b"": "img"},
    "sounds": {b"RIFF": "wav", b"fLaC": "flac", b"OggS": "ogg", b"ID3": "mp3", b"": "snd"},
}


def save(path: str | os.PathLike, records: Iterable[Record], root: str | os.PathLike | None = None) -> int:
    """Writes `path`, whole or not at all, and encoded media in `<name of path>_images/` and `..._sounds/` beside it.

    A line has "id", "prompt" and "images", what else the record has, and the entries of `meta` as further fields, so
    that the source gives them back as `meta`. Images, frames of videos and recordings that are encoded bytes go to
    files named by their content, one for all records that share it; those that are paths are written relative to
    `root`, which must hold them: the folder of `path` if not given. The source is then to be given the same `root`.

    Returns:
      The number of records.

    Raises:
      ValueError: a path of media is outside of the folder, or an entry of `meta` is called like a field.
      TypeError: `meta` holds what JSON cannot.
    """
    target = Path(path).absolute()
    root = Path(os.path.abspath(root)) if root else target.parent
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    count = 0
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            for count, record in enumerate(records, 1):  # noqa: B007
                file.write(json.dumps(_row(record, target, root), ensure_ascii=False) + "\n")
        os.chmod(partial, 0o644)  # mkstemp makes it unreadable for others
        os.replace(partial, target)
    except BaseException:
        os.unlink(partial)
        raise
    return count


def _row(record: Record, target: Path, root: Path) -> dict[str, Any]:
    more = {"answers": dict(record.answers), "ranked": list(record.ranked), "scores": list(record.scores)}
    more["views"] = {name: _files(images, target, root) for name, images in record.views.items()}
    more["spans"] = {name: [span._asdict() for span in spans] for name, spans in record.spans.items()}
    more = {field: value for field, value in more.items() if value}
    if clash := sorted(set(record.meta) & {*FIELDS, *more}):
        raise ValueError(f"meta of {record.id!r} has entries that are called like fields: {', '.join(clash)}")
    row = {"id": record.id, "prompt": record.prompt, "images": _files(record.images, target, root)}
    if record.videos:
        row["videos"] = [_files(frames, target, root) for frames in record.videos]
    if record.sounds:
        row["sounds"] = _files(record.sounds, target, root, "sounds")
    if record.rejected_images is not None:
        row["rejected_images"] = _files(record.rejected_images, target, root)
    row |= {k: v for k, v in (("chosen", record.chosen), ("rejected", record.rejected)) if v is not None}
    return row | more | dict(record.meta)


def _files(media: Iterable[bytes | str], target: Path, root: Path, kind: str = "images") -> list[str]:
    return [_file(each, target, root, kind) for each in media]


def _file(media: bytes | str, target: Path, root: Path, kind: str) -> str:
    if isinstance(media, str):
        file = Path(os.path.abspath(media))
        if not file.is_relative_to(root):
            raise ValueError(f"{file} is outside of {root}, which is to hold the media of {target}")
        return file.relative_to(root).as_posix()
    suffix = next(suffix for start, suffix in SUFFIXES[kind].items() if media.startswith(start))
    file = target.with_name(f"{target.stem}_{kind}") / f"{hashlib.sha256(media).hexdigest()[:24]}.{suffix}"
    if not file.exists():
        file.parent.mkdir(exist_ok=True)
        partial = file.with_suffix(".partial")  # what exists under the final name is taken to be whole
        partial.write_bytes(media)
        os.replace(partial, file)
    return file.relative_to(root).as_posix()
