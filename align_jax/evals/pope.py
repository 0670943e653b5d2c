"""POPE: does the model say yes when asked for objects that are not there? (Li et al., 2023, arXiv:2305.10355).

Follows github.com/AoiDragon/POPE (`evaluate.py`, `utils.py`). Images with at least three objects get three questions
about them, each followed by one about an absent object: any ("random"), the most frequent ("popular"), or the one that
most often comes with the object just asked for ("adversarial").
"""

import collections
import json
import os
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

Strategy = Literal["random", "popular", "adversarial"]
TEMPLATE = "Is there {a} {object} in the image?"


class Question(NamedTuple):
    """One line of the official files."""

    question_id: int
    image: str
    text: str
    label: str  # "yes" or "no"


class Pope(NamedTuple):
    """Fractions between 0 and 1; "yes" is the positive class. A fraction of nothing is 0."""

    accuracy: float
    precision: float
    recall: float
    f1: float
    yes_ratio: float  # of the answers, not of the labels as in lmms-eval


def parse(answer: str) -> Literal["yes", "no"]:
    """The official reading: "no" if a word of the first sentence is "No", "no" or "not", and "yes" otherwise.

    Commas are removed, words are parted by single spaces only, and case counts: "", "NO" and "No\\n" are read as
    "yes".
    """
    words = answer.split(".")[0].replace(",", "").split(" ")
    return "no" if {"No", "no", "not"} & set(words) else "yes"


def score(answers: Sequence[str], labels: Sequence[str]) -> Pope:
    """Scores free-text answers.

    Where the official code fails with a division by zero (no "yes" among the answers or among the labels), the
    fraction is 0.

    Args:
      answers: what the model said, read by `parse`.
      labels: "no", or anything else for yes.

    Raises:
      ValueError: there are not as many answers as labels.
    """
    said = [parse(answer) == "yes" for answer in answers]
    pairs = collections.Counter(zip(said, [label != "no" for label in labels], strict=True))
    hits = pairs[True, True]
    precision, recall = _ratio(hits, sum(said)), _ratio(hits, hits + pairs[False, True])
    return Pope(
        accuracy=_ratio(hits + pairs[False, False], len(said)),
        precision=precision,
        recall=recall,
        f1=_ratio(2 * precision * recall, precision + recall),
        yes_ratio=_ratio(sum(said), len(said)),
    )


def build_questions(
    objects: Mapping[str, Sequence[str]],
    strategy: Strategy,
    *,
    seed: int = 0,
    positives: int = 3,
    statistics_from: Iterable[Sequence[str]] | None = None,
    template: str = TEMPLATE,
) -> list[Question]:
    """Questions about annotated images, half "yes" and half "no".

    Images with fewer than `positives` objects are left out. The first `positives` objects of an image are asked for,
    in order; no object is asked for twice. Where a strategy finds no absent object, a random one is taken. Ties go to
    what the statistics met first. Unlike the official code, which turns "image" into "imange" for objects with a
    vowel, only the article is adapted.

    Args:
      objects: names of the objects in each image, by the image's name.
      strategy: how absent objects are chosen.
      seed: of the random ones.
      positives: per image.
      statistics_from: object lists of the images that frequencies and co-occurrences are counted in, and whose objects
        are the vocabulary; `objects` itself if not given. The training images show which absent objects a model
        expects.
      template: with the fields `{a}` for the article and `{object}`.

    Raises:
      ValueError: unknown strategy, or every object of the vocabulary is in an image or was already asked for.
    """
    if strategy not in ("random", "popular", "adversarial"):
        raise ValueError(f"strategy {strategy!r} is not one of: random, popular, adversarial")
    frequency, together = _statistics(objects.values() if statistics_from is None else statistics_from)
    popular = [name for name, _ in frequency.most_common()]
    rng, questions = random.Random(seed), []

    def ask(image: str, name: str, label: str) -> None:
        text = template.format(a="an" if name[0].lower() in "aeiou" else "a", object=name)
        questions.append(Question(len(questions) + 1, image, text, label))

    for image, names in objects.items():
        present = list(dict.fromkeys(names))
        if len(present) < positives:
            continue
        used = set(present)
        for positive in present[:positives]:
            ask(image, positive, "yes")
            absent = [name for name in popular if name not in used]
            if not absent:
                raise ValueError(f"no absent object is left to ask for in {image!r}: the vocabulary is too small")
            ranked = {
                "random": [],
                "popular": absent,
                "adversarial": [n for n, _ in together[positive].most_common() if n not in used],
            }[strategy]
            negative = ranked[0] if ranked else rng.choice(absent)
            used.add(negative)
            ask(image, negative, "no")
    return questions


def _statistics(images: Iterable[Sequence[str]]) -> tuple[collections.Counter, Mapping[str, collections.Counter]]:
    frequency: collections.Counter = collections.Counter()
    together: Mapping[str, collections.Counter] = collections.defaultdict(collections.Counter)
    for names in images:
        frequency.update(names)
        for name in names:
            together[name].update(other for other in names if other != name)
    return frequency, together


def read(path: str | os.PathLike) -> list[Question]:
    """Reads an official question file: one JSON object a line.

    Raises:
      ValueError: a line lacks a field, or is not JSON; names the line.
    """
    questions = []
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                row = json.loads(line)
                questions.append(Question(*(row[field] for field in Question._fields)))
            except (ValueError, KeyError, TypeError) as error:
                fields = ", ".join(Question._fields)
                raise ValueError(f"{path}:{number} is not a JSON object with {fields} ({error!r})") from None
    return questions


def write(path: str | os.PathLike, questions: Iterable[Question]) -> None:
    """Writes a question file in the official format."""
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(question._asdict()) + "\n" for question in questions)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
