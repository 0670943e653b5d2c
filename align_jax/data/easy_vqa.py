"""easy-VQA (Victor Zhou, 2019, MIT): 5,000 rendered pictures of one coloured shape, with 48,248 questions and answers.

https://github.com/vzhou842/easy-VQA. The wheel holds everything: 4,000 + 1,000 RGB pictures of 64x64 pixels and their
questions. It has no annotation of what a picture shows. That is recovered here from the answers to its own questions,
from positive statements alone ("is there a red shape?" "yes"; "what is the red shape?" "circle"); pictures whose shape
or colour is never stated are left out, which keeps 3,542 of 4,000 for training and 880 of 1,000 for test.

Colours and shapes are spelled as in its questions. Class `c` of 24 is `COLORS[c // 3] + " " + SHAPES[c % 3]`.
"""

import dataclasses
import functools
import re
from collections.abc import Iterable
from typing import Literal

import numpy as np

COLORS = ("black", "gray", "red", "green", "blue", "yellow", "teal", "brown")
SHAPES = ("circle", "rectangle", "triangle")
CLASSES = tuple(f"{color} {shape}" for color in COLORS for shape in SHAPES)

Polarity = Literal["affirmative", "negated", "open"]


def polarity(question: str) -> Polarity:
    """Whether a question is answered by yes or no, and if so, whether it asks for presence or for absence.

    Affirmative ones are mostly answered "no" and negated ones mostly "yes", so that a rule which never looks at the
    picture scores about 82 % on both together: report them apart.
    """
    words = re.findall(r"\w+", question.lower())
    if words[:1] == ["what"]:
        return "open"
    return "negated" if "no" in words or "not" in words else "affirmative"


@dataclasses.dataclass(frozen=True)
class Question:
    text: str
    answer: str  # a colour, a shape, "yes" or "no"
    image: int  # row of `EasyVqa.pixels`

    @property
    def polarity(self) -> Polarity:
        return polarity(self.text)


@dataclasses.dataclass(frozen=True)
class EasyVqa:
    """The pictures of one split of which both colour and shape are stated, in the order of their ids."""

    pixels: np.ndarray  # u8[n, 64, 64, 3]
    labels: np.ndarray  # i32[n], index into CLASSES
    image_ids: np.ndarray  # i32[n], the file's number in the wheel
    questions: tuple[Question, ...]  # all official questions about these pictures, in the official order


def stated(question: str, answer: str, values: Iterable[str]) -> set[str]:
    """Those of `values` that a question and its answer state to be in the picture.

    A yes/no question states its value if the answer says that it is there; any other question presupposes the value
    that it names ("what color is the circle?") and states its answer. That a value is absent is never used.
    """
    named = set(re.findall(r"\w+", question)) & set(values)
    if answer not in ("yes", "no"):
        return named | ({answer} & set(values))
    present = (answer == "yes") == (polarity(question) == "affirmative")
    return named if present else set()


@functools.cache
def load(split: Literal["train", "test"]) -> EasyVqa:
    """Reads one official split from the installed `easy-vqa` wheel; about a second, kept for the life of the process.

    Raises:
      ModuleNotFoundError: the wheel is not installed (`pip install easy-vqa`).
      ValueError: answers about one picture contradict each other.
    """
    import easy_vqa  # here, so that data/ can be imported without it
    from PIL import Image

    if split == "train":
        paths, rows = easy_vqa.get_train_image_paths(), easy_vqa.get_train_questions()
    else:
        paths, rows = easy_vqa.get_test_image_paths(), easy_vqa.get_test_questions()
    rows = list(zip(*rows, strict=True))
    colors: dict[int, set[str]] = {i: set() for i in paths}
    shapes: dict[int, set[str]] = {i: set() for i in paths}
    for text, answer, image in rows:
        colors[image] |= stated(text, answer, COLORS)
        shapes[image] |= stated(text, answer, SHAPES)
    if clash := [i for i in paths if len(colors[i]) > 1 or len(shapes[i]) > 1]:
        raise ValueError(f"answers contradict each other about {split} pictures {clash[:5]}")
    complete = sorted(i for i in paths if colors[i] and shapes[i])
    row_of = {image: row for row, image in enumerate(complete)}
    return EasyVqa(
        pixels=np.stack([np.asarray(Image.open(paths[i]).convert("RGB")) for i in complete]),
        labels=np.array([CLASSES.index(f"{min(colors[i])} {min(shapes[i])}") for i in complete], np.int32),
        image_ids=np.array(complete, np.int32),
        questions=tuple(Question(text, answer, row_of[i]) for text, answer, i in rows if i in row_of),
    )
