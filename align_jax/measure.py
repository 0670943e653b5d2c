"""Measures how much a model hallucinates on scenes that it has never seen: CHAIR, POPE, and what alignment costs."""

import dataclasses
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from align_jax.ask import Trained, ask
from align_jax.data import easy_vqa
from align_jax.data.records import Record
from align_jax.data.sources.scenes import Scenes, scenes
from align_jax.evals import chair, intervals, pope
from align_jax.evals.intervals import Interval
from align_jax.evals.mentions import mentions

QUESTION = "is there {a} {object} in the image?"
STRATEGIES = ("random", "popular", "adversarial")
CAPTION_TOKENS, ANSWER_TOKENS = 18, 4


@dataclasses.dataclass(frozen=True)
class Measurement:
    """Metrics as ratios of sums over pictures, so that intervals and paired differences can be made of them.

    Attributes:
      ratios: metric -> one or more pairs (numerators, denominators), each a number per picture; several pairs are
        averaged.
      captions: id of a held-out scene -> what the model says of it.
    """

    ratios: dict[str, list[tuple[list[float], list[float]]]]
    captions: dict[str, str]

    def interval(self, metric: str) -> Interval:
        """Value and 95 % interval over the choice of pictures."""
        return intervals.mean_ratio(self.ratios[metric])

    def values(self) -> dict[str, float]:
        """All metrics."""
        return {name: float(np.mean([np.sum(a) / max(np.sum(b), 1) for a, b in r])) for name, r in self.ratios.items()}

    def save(self, path: str | Path) -> None:
        """Writes a JSON file, whole or not at all."""
        partial = Path(path).with_suffix(".partial")
        partial.write_text(json.dumps(dataclasses.asdict(self)))
        partial.replace(path)

    @classmethod
    def load(cls, path: str | Path) -> "Measurement":
        """Reads what `save` wrote."""
        return cls(**json.loads(Path(path).read_text()))


def measure(
    trained: Trained,
    data_dir: str,
    *,
    questions: bool = True,
    batch_size: int = 256,
    name: str = "measure",
    console: Console | None = None,
) -> Measurement:
    """Measures a model on the held-out splits of a set of scenes.

    Args:
      trained: the model.
      data_dir: what `data.scenes_builder.write` returned.
      questions: whether yes/no and official questions are asked, which takes the longer; without them there are
        captions only.
      batch_size: prompts at a time.
      name: on the progress line.
      console: where progress is shown.

    Returns:
      chair_i, chair_s, recall, f1, exact, malformed, mentions, words: of greedy captions of uniform scenes, read
        strictly; f1 is of mentioned and present objects.
      in_prior_chair_i, in_prior_exact: the same for scenes arranged as in training.
      pope_*: accuracy, f1, yes_ratio as means over the three splits, and accuracy of each; pope_blind_accuracy is
        what the questions alone give away.
      official_accuracy, official_blind_accuracy: of the official easy-VQA test questions.
    """

    def answer(records: Sequence[Record] | Scenes, what: str, tokens: int, blind: bool = False) -> list[str]:
        found = ask(trained, records, max_tokens=tokens, temperature=0.0, batch_size=batch_size, blind=blind)
        shown = track(found, f"{name}: {what}", total=len(records), console=console)
        return [words[0] for _, words in shown]

    held_out, in_prior = (scenes(data_dir=data_dir, split=split) for split in ("evaluation", "in_prior"))
    captions = answer(held_out, "captions", CAPTION_TOKENS)
    counts = _count(captions, held_out)
    familiar = _count(answer(in_prior, "captions of familiar scenes", CAPTION_TOKENS), in_prior)
    ones = np.ones(len(captions))
    ratios = {
        "chair_i": [(counts.hallucinated, counts.mentioned)],
        "chair_s": [(counts.hallucinated > 0, ones)],
        "recall": [(counts.covered, counts.present)],
        "f1": [(2 * counts.covered, counts.mentioned + counts.present)],
        "exact": [(counts.exact, ones)],
        "malformed": [(counts.malformed, counts.mentioned)],
        "mentions": [(counts.mentioned, ones)],
        "words": [([len(text.split()) for text in captions], ones)],
        "in_prior_chair_i": [(familiar.hallucinated, familiar.mentioned)],
        "in_prior_exact": [(familiar.exact, np.ones(len(familiar.exact)))],
    }

    if questions:
        ratios |= _questions(answer, data_dir, held_out)
    as_lists = {
        k: [(np.asarray(a, float).tolist(), np.asarray(b, float).tolist()) for a, b in v] for k, v in ratios.items()
    }
    return Measurement(as_lists, {held_out[i].id: text for i, text in enumerate(captions)})


def _questions(answer: Callable[..., list[str]], data_dir: str, held_out: Scenes) -> dict:
    """POPE and the official questions, each with the pictures and blind."""
    ratios = {}
    splits = pope_questions(data_dir, held_out)
    asked = list(dict.fromkeys((q.image, q.text) for questions in splits.values() for q in questions))
    pictures = {held_out[i].id: held_out[i].images for i in range(len(held_out))}
    records = [Record(f"{image}/{text}", text, pictures[image]) for image, text in asked]
    for prefix, blind in (("pope", False), ("pope_blind", True)):
        words = answer(records, "yes/no questions" + " without pictures" * blind, ANSWER_TOKENS, blind)
        ratios |= _pope(prefix, splits, {key: pope.parse(text) for key, text in zip(asked, words, strict=True)})

    official = scenes(data_dir=data_dir, split="official")
    truth = [official[i].chosen for i in range(len(official))]
    images = [official[i].id.rpartition("/")[0] for i in range(len(official))]
    for metric, blind in (("official_accuracy", False), ("official_blind_accuracy", True)):
        words = answer(official, "easy-VQA questions" + " without pictures" * blind, ANSWER_TOKENS, blind)
        correct = [float(said == right) for said, right in zip(words, truth, strict=True)]
        ratios[metric] = [(_per_picture(images, correct), _per_picture(images, np.ones(len(images))))]
    return ratios


def pope_questions(data_dir: str, held_out: Scenes) -> dict[str, list[pope.Question]]:
    """POPE's three splits for held-out scenes; what is frequent, or goes together, is so in the training scenes."""
    training = scenes(data_dir=data_dir, split="sft", kinds=("caption",))
    objects = {held_out[i].id: held_out[i].meta["objects"] for i in range(len(held_out))}
    seen = [training[i].meta["objects"] for i in range(len(training))]
    return {s: pope.build_questions(objects, s, statistics_from=seen, template=QUESTION) for s in STRATEGIES}


def _count(captions: Sequence[str], source: Scenes) -> chair.Counts:
    read = [[m.object for m in mentions(text, easy_vqa.CLASSES)] for text in captions]
    return chair.count(read, [source[i].meta["objects"] for i in range(len(source))])


def _pope(prefix: str, splits: dict[str, list[pope.Question]], said: dict[tuple[str, str], str]) -> dict:
    ratios: dict[str, list] = {f"{prefix}_{metric}": [] for metric in ("accuracy", "f1", "yes_ratio")}
    for strategy, questions in splits.items():
        images = [q.image for q in questions]
        yes = np.array([said[q.image, q.text] == "yes" for q in questions])
        true = np.array([q.label == "yes" for q in questions])
        sums = lambda x, images=images: _per_picture(images, x)  # noqa: E731
        accuracy = sums(yes == true), sums(np.ones(len(yes)))
        ratios[f"{prefix}_accuracy_{strategy}"] = [accuracy]
        ratios[f"{prefix}_accuracy"].append(accuracy)
        ratios[f"{prefix}_f1"].append((sums(2 * (yes & true)), sums(yes.astype(int) + true)))
        ratios[f"{prefix}_yes_ratio"].append((sums(yes), accuracy[1]))
    return ratios


def _per_picture(images: Iterable[str], values: Iterable[float]) -> np.ndarray:
    """Sums of values that belong to the same picture: questions about one picture are not independent."""
    total: dict[str, float] = {}
    for image, value in zip(images, values, strict=True):
        total[image] = total.get(image, 0.0) + float(value)
    return np.array(list(total.values()))
