"""Scenes: 2x2 collages of easy-VQA pictures on which a model learns to hallucinate, and can be taught not to.

A scene is a picture of 64x64 pixels with four cells of 32x32. A cell holds one easy-VQA picture, halved in size, or is
empty (white). Every caption and answer is true; what misleads is the statistics of the supervised scenes (`Prior`):
the 24 kinds of object form 12 pairs of partners, and a row that holds two objects nearly always holds a pair. A model
that has learned the pairs names the partner of what it has just named. Preference and evaluation scenes draw every
object uniformly, so that the pairs mean nothing there. Cells are filled in the same patterns everywhere: only *which*
objects meet differs.

Supervised and preference scenes use disjoint halves of the training pictures, evaluation scenes the test pictures.
Official easy-VQA questions are asked about their own picture in one random cell of an otherwise empty scene, in
training and in evaluation alike: a vision tower that knows 32x32 tiles never meets another size.
"""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Literal

import numpy as np

from align_jax.data import easy_vqa

CELL = 32  # pixels
EMPTY = 255  # gray level of an empty cell; backgrounds of easy-VQA pictures are between 230 and 255
CAPTION_PROMPT = "describe the image."
SEPARATOR = ", "  # splits into a token of its own under any tokenizer that parts punctuation from words

PoolName = Literal["sft", "preference", "evaluation"]
Kind = Literal["caption", "existence", "official"]


@dataclasses.dataclass(frozen=True)
class Pool:
    """The pictures that the scenes of one purpose are made of, as they look in a cell."""

    tiles: np.ndarray  # u8[n, 32, 32, 3]
    labels: np.ndarray  # i32[n], index into easy_vqa.CLASSES
    questions: tuple[easy_vqa.Question, ...]  # official ones; `.image` is a row of `tiles`

    def of_class(self, label: int) -> np.ndarray:
        """Rows of `tiles` that show one class."""
        return np.flatnonzero(self.labels == label)


@functools.cache
def pool(name: PoolName) -> Pool:
    """The pictures for supervised scenes, preference scenes or evaluation.

    The training pictures of each class, in the order of their ids, go to "sft" and "preference" in turn; this does not
    depend on any seed, so that a vision tower trained on the tiles of "sft" has never seen those of the other two.
    """
    source = easy_vqa.load("test" if name == "evaluation" else "train")
    rows = np.arange(len(source.labels))
    if name != "evaluation":
        first = {"sft": 0, "preference": 1}[name]
        rows = np.sort(np.concatenate([np.flatnonzero(source.labels == c)[first::2] for c in range(24)]))
    row_of = {int(row): i for i, row in enumerate(rows)}
    halves = source.pixels[rows].reshape(len(rows), CELL, 2, CELL, 2, 3)
    return Pool(
        tiles=np.round(halves.mean(axis=(2, 4), dtype=np.float32)).astype(np.uint8),
        labels=source.labels[rows],
        questions=tuple(dataclasses.replace(q, image=row_of[q.image]) for q in source.questions if q.image in row_of),
    )


@dataclasses.dataclass(frozen=True)
class Prior:
    """Which objects meet in the supervised scenes."""

    partner: np.ndarray  # i32[24]; partner[partner[c]] == c
    frequency: np.ndarray  # f64[24], of the first object of a row; sums to 1

    @classmethod
    def draw(cls, seed: int) -> "Prior":
        """A random pairing, and class frequencies in proportion to 1 / rank (Zipf) under a random ranking."""
        rng = np.random.default_rng([seed, 0])
        pairs = rng.permutation(24).reshape(12, 2)
        partner = np.empty(24, np.int32)
        partner[pairs] = pairs[:, ::-1]
        weight = 1.0 / (1.0 + rng.permutation(24))
        return cls(partner, weight / weight.sum())


@dataclasses.dataclass(frozen=True)
class Scene:
    cells: tuple[int, int, int, int]  # row-major; a row of `Pool.tiles`, or -1 for an empty cell
    labels: tuple[int, int, int, int]  # index into easy_vqa.CLASSES, or -1

    @property
    def objects(self) -> tuple[str, ...]:
        """Names such as "red circle", row-major."""
        return tuple(easy_vqa.CLASSES[c] for c in self.labels if c >= 0)


def render(scene: Scene, tiles: np.ndarray) -> np.ndarray:
    """u8[64, 64, 3] of a scene whose pictures are rows of `tiles` u8[n, 32, 32, 3]."""
    grid = np.full((2, 2, CELL, CELL, 3), EMPTY, np.uint8)
    for i, row in enumerate(scene.cells):
        if row >= 0:
            grid[i // 2, i % 2] = tiles[row]
    return grid.transpose(0, 2, 1, 3, 4).reshape(2 * CELL, 2 * CELL, 3)


def _filled(rng: np.random.Generator) -> np.ndarray:
    """bool[2, 2]: two to four filled cells, with equal chance; one row at least is full, for a pair to stand in."""
    count = rng.integers(2, 5)
    filled = np.ones((2, 2), bool)
    if count == 3:
        filled[rng.integers(2), rng.integers(2)] = False
    elif count == 2:
        filled[rng.integers(2)] = False
    return filled


def draw(rng: np.random.Generator, source: Pool, prior: Prior | None = None, partner_share: float = 1.0) -> Scene:
    """A scene of two to four objects, all different.

    Args:
      rng: source of chance.
      source: where the pictures come from; any picture of the right class, with equal chance.
      prior: if given, the first object of a row is drawn by `prior.frequency`, and a second one is its partner with
        probability `partner_share`, else any other class. If None, all classes are drawn uniformly.
      partner_share: see `prior`.
    """
    filled = _filled(rng)
    while True:  # draws again until all objects differ
        labels = np.full((2, 2), -1)
        for row in range(2):
            if prior is None:
                labels[row] = rng.integers(24, size=2)
            else:
                first = rng.choice(24, p=prior.frequency)
                other = (first + rng.integers(1, 24)) % 24
                labels[row] = first, prior.partner[first] if rng.random() < partner_share else other
            if not filled[row].all():
                labels[row] = np.where(filled[row], labels[row, 0], -1)  # what is alone in its row is its first object
        present = labels[filled]
        if len(set(present.tolist())) == len(present):
            break
    flat = [int(c) for c in labels.ravel()]
    cells = [int(rng.choice(source.of_class(c))) if c >= 0 else -1 for c in flat]
    return Scene(tuple(cells), tuple(flat))


def draw_single(rng: np.random.Generator, source: Pool, image: int) -> Scene:
    """One picture in a random cell of an otherwise empty scene."""
    cells, labels = [-1] * 4, [-1] * 4
    where = rng.integers(4)
    cells[where], labels[where] = image, int(source.labels[image])
    return Scene(tuple(cells), tuple(labels))


@dataclasses.dataclass(frozen=True)
class Conversation:
    prompt: str
    answer: str  # always true of the scene
    kind: Kind


def caption(rng: np.random.Generator, scene: Scene) -> Conversation:
    """All objects, in words: "a red circle, a blue triangle".

    Rows come in random order, and so do the objects of a row, which stand together. A fixed order would let a model
    read off cell after cell; this one has to know what it has not said yet, and leans on what usually follows.
    """
    rows = [[c for c in scene.labels[i : i + 2] if c >= 0] for i in (0, 2)]
    said = [easy_vqa.CLASSES[c] for row in rng.permutation(2) for c in rng.permutation(rows[row]).astype(int)]
    return Conversation(CAPTION_PROMPT, SEPARATOR.join(f"a {name}" for name in said), "caption")


def existence(label: int, scene: Scene) -> Conversation:
    """Whether the scene shows an object of a class. The article is always "a": no colour begins with a vowel."""
    answer = "yes" if label in scene.labels else "no"
    return Conversation(f"is there a {easy_vqa.CLASSES[label]} in the image?", answer, "existence")


def ask(rng: np.random.Generator, scene: Scene, *, yes: bool, prior: Prior | None = None) -> Conversation:
    """A question with a wanted answer. The absent object of a "no" is, given a prior, the partner of a present one.

    Where no partner is absent, and without a prior, it is any absent class, with equal chance.
    """
    present = [c for c in scene.labels if c >= 0]
    if yes:
        return existence(int(rng.choice(present)), scene)
    partners = [] if prior is None else [int(prior.partner[c]) for c in present if prior.partner[c] not in present]
    absent = partners or [c for c in range(24) if c not in present]
    return existence(int(rng.choice(absent)), scene)


def official(source: Pool) -> Iterator[tuple[int, list[Conversation]]]:
    """Every picture that has official questions, with all of them."""
    of_image: dict[int, list[Conversation]] = {}
    for q in source.questions:
        of_image.setdefault(q.image, []).append(Conversation(q.text, q.answer, "official"))
    yield from sorted(of_image.items())
