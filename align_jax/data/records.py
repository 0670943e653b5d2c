"""The canonical record: what every source yields, whatever the file it comes from."""

import dataclasses
import math
import os
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from align_jax.types import Span

IMAGE_MARK, VIDEO_MARK, AUDIO_MARK = MARKS = ("<image>", "<video>", "<audio>")
FIELDS = ("id", "prompt", "image", "images", "videos", "sounds", "chosen", "rejected", "rejected_images")
# Many data sets have columns of these names: what is of another type stays in `meta`.
MORE = {"answers": Mapping, "ranked": list, "scores": list, "views": Mapping, "spans": Mapping}


class RecordError(ValueError):
    """One record is broken: it is skipped and counted (data/rejects.py), the others go on.

    Attributes:
      where: file and row, the identity of the culprit.
      reason: field, what is wrong with it, what to do.
    """

    def __init__(self, where: str, reason: str):
        super().__init__(where, reason)  # both, so that the exception survives pickling on its way out of a worker
        self.where = where
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}"


@dataclasses.dataclass(frozen=True)
class Record:
    """A prompt about some images, videos and recordings, and answers to it: mostly a chosen and a rejected one.

    `prompt` may hold `<image>` marks, one for each image, where the images belong; without marks they come first.
    `<video>` and `<audio>` do the same for the others.
    """

    id: str
    prompt: str
    images: tuple[bytes | str, ...] = ()  # encoded files, or paths of them
    chosen: str | None = None
    rejected: str | None = None
    meta: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    where: str = ""  # file and row, for messages
    videos: tuple[tuple[bytes | str, ...], ...] = ()  # each its frames, as images
    sounds: tuple[bytes | str, ...] = ()  # encoded files, or paths of them
    rejected_images: tuple[bytes | str, ...] | None = None  # what the rejected answer was given, if not the same
    # What some methods need besides; see `Reads` in types.py.
    answers: Mapping[str, str] = dataclasses.field(default_factory=dict)  # further ones, by name
    ranked: tuple[str, ...] = ()  # several answers, the best first
    scores: tuple[float, ...] = ()  # one for each of `ranked`
    views: Mapping[str, tuple[bytes | str, ...]] = dataclasses.field(default_factory=dict)  # other images, by name
    spans: Mapping[str, tuple[Span, ...]] = dataclasses.field(default_factory=dict)  # "chosen" -> its labelled parts

    @property
    def place(self) -> str:
        """`where`, or the id for records that come from no file."""
        return self.where or f"record {self.id!r}"


class Source(Protocol):
    """Random access to records. Must be picklable, and cheaply so: each worker process receives a copy."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Record: ...  # raises RecordError for a broken row


def parse_record(row: Mapping[str, Any], where: str, root: Path, default_id: str = "") -> Record:
    """Checks a row of the canonical schema.

    Args:
      row: `prompt` (text); optional `id`, `images` (a list) or `image` (a single one), `videos` (a list of lists of
        frames, which are images), `sounds` (a list), `chosen`, `rejected`, `rejected_images` (a list), `answers`
        (names to texts), `ranked` (texts, the best first), `scores` (a number for each of them), `views` (names to
        lists of images), `spans` (names of answers to lists of `{"start", "end", "label"}`, in characters). An image
        or recording is a path relative to `root`, encoded bytes, or `{"bytes": ..., "path": ...}`. Null counts as
        absent. All other keys go to `meta`, and so do the last five where they are of another type.
      where: file and row, for messages.
      root: folder that image paths are relative to, and may not leave.
      default_id: the id of rows that have none; the source passes its row number.

    Raises:
      RecordError: names the field, what is wrong with it, and what to do.
    """
    if not isinstance(row, Mapping):
        raise RecordError(where, f"the row is {_kind(row)}: write an object with at least 'prompt'")
    if row.get("prompt") is None:
        raise RecordError(where, f"'prompt' is missing: add or rename it (the row has: {_listed(row)})")
    prompt = _text(row, "prompt", where)
    images = _images(row, where, root)
    videos = tuple(
        _files(frames, f"'videos'[{i}]", where, root)
        for i, frames in enumerate(_list(row.get("videos"), "'videos'", where))
    )
    sounds = _files(row.get("sounds"), "'sounds'", where, root)
    for mark, count in zip(MARKS, map(len, (images, videos, sounds)), strict=True):
        check_marks(prompt, count, where, mark)
    other = row.get("rejected_images")
    more = {key: row[key] for key, kind in MORE.items() if isinstance(row.get(key), kind)}
    answers = {name: _text(more["answers"], name, where) for name in more.get("answers", ())}
    ranked = tuple(_ranked(text, i, where) for i, text in enumerate(more.get("ranked", ())))
    return Record(
        id=_id(row, where) or default_id or where,
        prompt=prompt,
        images=images,
        videos=videos,
        sounds=sounds,
        rejected_images=None if other is None else _files(other, "'rejected_images'", where, root),
        chosen=_text(row, "chosen", where),
        rejected=_text(row, "rejected", where),
        meta={key: value for key, value in row.items() if key not in FIELDS and key not in more},
        where=where,
        answers={name: text for name, text in answers.items() if text is not None},
        ranked=ranked,
        scores=_scores(more["scores"], len(ranked), where) if ranked and "scores" in more else (),
        views={
            name: _files(files, f"'views'[{name!r}]", where, root)
            for name, files in more.get("views", {}).items()
            if files is not None
        },
        spans={
            name: _spans(spans, name, {"chosen": row.get("chosen"), "rejected": row.get("rejected")} | answers, where)
            for name, spans in more.get("spans", {}).items()
            if spans is not None
        },
    )


def check_marks(prompt: str, count: int, where: str, mark: str = IMAGE_MARK) -> None:
    """Raises RecordError unless `prompt` has no such mark, or exactly `count`."""
    marks, what = prompt.count(mark), mark.strip("<>")
    if marks and marks != count:
        raise RecordError(
            where,
            f"'prompt' has {marks} {mark} marks for {count} {what}s: write one mark for each {what}, or no "
            f"mark at all to put the {what}s first",
        )


def _text(row: Mapping[str, Any], field: str, where: str) -> str | None:
    value = row.get(field)
    if value is None:
        return None
    if not isinstance(value, str):
        raise RecordError(where, f"{field!r} is {_kind(value)}: it must be one string")
    if not value.strip():
        raise RecordError(where, f"{field!r} is empty: fill it in, or leave the row out")
    return value


def _id(row: Mapping[str, Any], where: str) -> str:
    value = row.get("id")
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise RecordError(where, f"'id' is {_kind(value)}: it must be a string or a whole number")
    return str(value)


def _images(row: Mapping[str, Any], where: str, root: Path) -> tuple[bytes | str, ...]:
    one, several = row.get("image"), row.get("images")
    if one is not None and several is not None:
        raise RecordError(where, "has both 'image' and 'images': keep one of them")
    if several is None:
        return () if one is None else (_image(one, "'image'", where, root),)
    return _files(several, "'images'", where, root)


def _files(values: Any, field: str, where: str, root: Path) -> tuple[bytes | str, ...]:
    return tuple(_image(v, f"{field}[{i}]", where, root) for i, v in enumerate(_list(values, field, where)))


def _ranked(text: Any, i: int, where: str) -> str:
    if text is None:  # not left out: scores are counted by place
        raise RecordError(where, f"'ranked'[{i}] is null: leave it out, and its score")
    return _text({f"ranked[{i}]": text}, f"ranked[{i}]", where)


def _scores(scores: Sequence[Any], count: int, where: str) -> tuple[float, ...]:
    if not all(_number(x) for x in scores):
        raise RecordError(where, "'scores' holds something that is no number: write a number for each of 'ranked'")
    if scores and len(scores) != count:
        raise RecordError(where, f"there are {len(scores)} 'scores' for {count} 'ranked' answers: write one for each")
    return tuple(map(float, scores))


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _spans(spans: Any, name: str, answers: Mapping[str, Any], where: str) -> tuple[Span, ...]:
    field, text = f"'spans'[{name!r}]", answers.get(name)
    if not isinstance(text, str):
        raise RecordError(where, f"{field} marks parts of an answer that is not there: leave them out")
    found = []
    for i, span in enumerate(_list(spans, field, where)):
        label = span.get("label", 1.0) if isinstance(span, Mapping) else None
        well_formed = isinstance(label, str) or _number(label)
        if not (well_formed and all(type(span.get(key)) is int for key in ("start", "end"))):
            raise RecordError(
                where, f'{field}[{i}] must be {{"start": number, "end": number, "label": text or number}}'
            )
        start, end = span["start"], span["end"]
        if not 0 <= start < end <= len(text):
            raise RecordError(
                where, f"{field}[{i}] goes from {start} to {end} in a text of {len(text)} characters: correct it"
            )
        found.append(Span(start, end, label))
    return tuple(found)


def _list(values: Any, field: str, where: str) -> Sequence[Any]:
    if not isinstance(values, list | tuple | types.NoneType):
        hint = "; a single image may go into 'image'" if field == "'images'" else ""
        hint = "; a video is a list of its frames, which are images" if field.startswith("'videos'") else hint
        raise RecordError(where, f"{field} is {_kind(values)}: it must be a list{hint}")
    return values or ()


def _image(image: Any, field: str, where: str, root: Path) -> bytes | str:
    if isinstance(image, Mapping):
        image = image.get("bytes") or image.get("path")
    if isinstance(image, bytes | bytearray | memoryview) and len(image):
        return bytes(image)
    if not isinstance(image, str) or not image:
        kind = "empty" if not image else _kind(image)
        raise RecordError(
            where, f"{field} is {kind}: it must be a path, encoded bytes, or an object with one of these"
        )
    if image.startswith(("http://", "https://", "gs://", "s3://", "data:")):
        scheme = image.partition(":")[0]
        raise RecordError(where, f"{field} is a {scheme}: address, only files are read: save it below {root} first")
    # As text, without following links: people do link picture folders into their data root.
    root_path, path = os.path.abspath(root), os.path.abspath(os.path.join(root, image))
    if os.path.commonpath([root_path, path]) != root_path:
        raise RecordError(
            where, f"{field} {image!r} leaves the data root {root_path}: pass a `root` that holds all images"
        )
    return path


def _kind(value: Any) -> str:
    names = {
        bool: "a truth value",
        int: "a number",
        float: "a number",
        str: "a string",
        list: "a list",
        dict: "an object",
    }
    return "null" if value is None else names.get(type(value), f"of type {type(value).__name__}")


def _listed(row: Mapping[str, Any]) -> str:
    return ", ".join(map(str, row)) or "nothing"
