"""Strict reading of a caption that lists objects: everything in it either names an object or is malformed.

A parser that only looks for names it knows lets a model lower its hallucination rate by writing what cannot be parsed
("a circle, a red"). Here nothing is skipped: what stands between two separators is one mention.
"""

from collections.abc import Collection, Iterator
from typing import NamedTuple


class Mention(NamedTuple):
    """`caption[start:end]` is the text of the mention; `object` is None if it names no known object."""

    start: int
    end: int
    object: str | None


def mentions(caption: str, objects: Collection[str], separator: str = ",") -> list[Mention]:
    """All mentions of a caption, in order.

    A mention is well formed if it is "a" or "an" and then exactly the name of an object, in any case and with any
    white space. Anything else, and the emptiness between two separators or after the last one, is malformed.

    Args:
      caption: such as "a red circle, a blue triangle". A blank caption has no mention.
      objects: canonical names in lower case, such as "red circle".
      separator: what stands between mentions.
    """
    if not caption.strip():
        return []
    return [Mention(start, end, _object(caption[start:end], objects)) for start, end in _spans(caption, separator)]


def _spans(caption: str, separator: str) -> Iterator[tuple[int, int]]:
    start = 0
    for part in caption.split(separator):
        left = start + len(part) - len(part.lstrip())
        yield left, left + len(part.strip())
        start += len(part) + len(separator)


def _object(text: str, objects: Collection[str]) -> str | None:
    article, *name = text.lower().split() or [""]
    found = " ".join(name)
    return found if article in ("a", "an") and found in objects else None
