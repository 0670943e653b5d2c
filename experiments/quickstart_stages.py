"""Stages of the quickstart, for the scripts that build on it. Each leaves files, and is skipped where they are."""

import dataclasses
import json
import time
from pathlib import Path

import jax
import numpy as np
from rich.console import Console
from rich.progress import track

from align_jax import build, run
from align_jax.ask import ask, open_run
from align_jax.data import easy_vqa, scenes, scenes_builder
from align_jax.data.media import ImageProcessor
from align_jax.data.records import Record
from align_jax.data.sources.scenes import scenes as open_scenes
from align_jax.evals.mentions import Mention, mentions
from align_jax.measure import CAPTION_TOKENS, Measurement, measure
from align_jax.models import mllm, vit
from align_jax.preferences.label import label
from align_jax.preferences.pair import best_vs_worst, flip
from align_jax.preferences.save import save
from align_jax.train import checkpoint, optimizer
from align_jax.train.classify import classify
from align_jax.types import Span

RANKED = 4  # captions of one picture, at most


class Quickstart:
    """The stages, in order; each a method that leaves files in the workdir."""

    def __init__(self, workdir: Path, seed: int, stages, console: Console):
        self.workdir, self.seed, self.stages, self.console = workdir, seed, stages, console
        self.times: dict[str, float] = {}
        self._check_settings()

    def _check_settings(self) -> None:
        settings = json.loads(json.dumps({"seed": self.seed, **self.stages.to_dict()}))
        path = self.workdir / "stages.json"
        if path.exists() and json.loads(path.read_text()) != settings:
            raise ValueError(f"{self.workdir} was made with another seed or other --stages settings: choose another")
        self.workdir.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings, indent=2))

    def stage(self, title: str):
        """Notes how long a stage takes."""
        return _Timer(self, title)

    def scenes(self) -> str:
        """Composes the pictures."""
        with self.stage("scenes"):
            return scenes_builder.write(self.workdir / "data", seed=self.seed, **self.stages.scenes.to_dict())

    def tower(self) -> Path:
        """Trains the vision tower to tell shapes and colours."""
        folder, settings = self.workdir / "tower", self.stages.tower
        if folder.exists():
            return folder
        with self.stage("vision tower"):
            config = vit.VisionConfig(**self.stages.sft.model.vision.to_dict())
            tower, processor = vit.VisionTransformer(config), ImageProcessor(config.image_size)
            pixels, labels = zip(*(self._tiles(processor, name) for name in ("sft", "preference")), strict=True)
            pixels, labels = np.concatenate(pixels), np.concatenate(labels)
            params = jax.jit(tower.init)(jax.random.key(self.seed, impl="rbg"), pixels[:1])["params"]
            tx, _ = optimizer.build(steps=settings.steps, matrix_axes=mllm.matrix_axes, **settings.optimizer.to_dict())
            params, accuracy = classify(
                lambda params, pixels: tower.apply({"params": params}, pixels),
                params,
                tx,
                pixels,
                labels,
                classes=(len(easy_vqa.COLORS), len(easy_vqa.SHAPES)),
                steps=settings.steps,
                batch_size=settings.batch_size,
                seed=self.seed,
                console=self.console,
            )
            held_out = accuracy(*self._tiles(processor, "evaluation"))
            self.console.print(f"vision tower: {held_out:.1%} of test tiles right in colour and shape")
            checkpoint.save_tree(folder, params)
        return folder

    @staticmethod
    def _tiles(processor: ImageProcessor, pool: str) -> tuple[np.ndarray, np.ndarray]:
        """Pixels f32[n, 32, 32, 3], and labels i32[n, 2] of colour and shape."""
        tiles = scenes.pool(pool)
        shapes = len(easy_vqa.SHAPES)
        labels = np.stack([tiles.labels // shapes, tiles.labels % shapes], 1)
        return np.concatenate([processor(tile) for tile in tiles.tiles]), labels

    def sft(self, data_dir: str, tower: Path) -> Path:
        """Teaches captions and answers, and with them the statistics of the training scenes."""
        config, folder = self.stages.sft.copy_and_resolve_references(), self.workdir / "sft"
        config.seed, config.init_vision = self.seed, str(tower)
        config.data.source.data_dir = data_dir
        return self._train(config, folder, "SFT")

    def pairs(self, data_dir: str, sft: Path) -> Path:
        """Samples captions from the SFT model, and ranks them by what is in the picture."""
        path, settings = self.workdir / "pairs.jsonl", self.stages.preference
        if path.exists():
            return path
        with self.stage("preferences"):
            prompts = open_scenes(data_dir=data_dir, split="preference", kinds=("caption",))
            sampled = ask(
                open_run(sft),
                prompts,
                completions=settings.samples,
                max_tokens=CAPTION_TOKENS,
                temperature=settings.temperature,
                seed=self.seed + 1,
                batch_size=settings.batch_size,
            )
            sampled = track(sampled, "sampling captions", total=len(prompts), console=self.console)
            found = [pair for record, captions in sampled if (pair := caption_pair(record, captions))]
            questions = open_scenes(data_dir=data_dir, split="preference", kinds=("existence",))
            found += [question_pair(questions[i]) for i in range(settings.questions)]
            count = save(path, found)
            self.console.print(
                f"preferences: {count - settings.questions} pairs of captions from {len(prompts)} pictures"
            )
            save(self.workdir / "flipped.jsonl", flip(_stored(found, path), 0.5, seed=self.seed))
        return path

    def align(self, config, name: str, sft: Path, pairs: Path) -> Path:
        """Aligns by a method's config."""
        config = config.copy_and_resolve_references()
        config.seed, config.init_from = self.seed, str(sft)
        config.data.source = dict(name="jsonl", path=str(pairs))
        return self._train(config, self.workdir / name, name)

    def measure(self, run_dir: Path, data_dir: str) -> Measurement:
        """Measures on held-out scenes."""
        path = run_dir / "measurement.json"
        if not path.exists():
            with self.stage(f"measure {run_dir.name}"):
                measure(open_run(run_dir), data_dir, name=run_dir.name, console=self.console).save(path)
        return Measurement.load(path)

    def _train(self, config, folder: Path, name: str) -> Path:
        if not (folder / "done").exists():
            with self.stage(name):
                run.train(config, folder, console=self.console, name=name)
                (folder / "done").touch()
        return folder


class _Timer:
    def __init__(self, quickstart: Quickstart, title: str):
        self.quickstart, self.title = quickstart, title

    def __enter__(self):
        self.start = time.perf_counter()

    def __exit__(self, *_):
        self.quickstart.times[self.title] = time.perf_counter() - self.start


def caption_pair(record: Record, captions: list[str]) -> Record | None:
    """The best of some captions against the worst that mentions as many objects, or None.

    With what methods that need more than a pair read: captions of as many mentions, ranked, the margin between best
    and worst in F1, and which mentions are accurate.
    """
    read = [mentions(text, easy_vqa.CLASSES) for text in captions]
    scores = [label([m.object for m in said], record.meta["objects"]).f1 for said in read]
    choice = best_vs_worst(captions, scores, [len(said) for said in read])
    if choice is None or not captions[choice.chosen] or not captions[choice.rejected]:
        return None
    rivals = [i for i, said in enumerate(read) if len(said) == len(read[choice.chosen])]
    levels = {scores[i]: i for i in (*rivals, *choice)}  # one caption of each score
    best, *others = sorted(levels.values(), key=scores.__getitem__, reverse=True)
    ranked = [best, *others[-RANKED + 1 :]]
    return Record(
        record.id,
        record.prompt,
        record.images,
        captions[choice.chosen],
        captions[choice.rejected],
        record.meta | {"margin": scores[choice.chosen] - scores[choice.rejected]},
        ranked=tuple(captions[i] for i in ranked),
        scores=tuple(scores[i] for i in ranked),
        spans={name: _accuracy(read[i], record.meta["objects"]) for name, i in choice._asdict().items()},
    )


def question_pair(record: Record) -> Record:
    """A yes/no question with the same further facts as a pair of captions."""
    answers = {"chosen": record.chosen, "rejected": record.rejected}
    labels = {"chosen": "accurate", "rejected": "inaccurate"}
    return dataclasses.replace(
        record,
        meta=record.meta | {"margin": 1.0},
        ranked=tuple(answers.values()),
        scores=(1.0, 0.0),
        spans={name: (Span(0, len(text), labels[name]),) for name, text in answers.items()},
    )


def _accuracy(said: list[Mention], objects: list[str]) -> tuple[Span, ...]:
    """Which mentions are in the picture, each object as often as it is there."""
    left, spans = list(objects), []
    for mention in said:
        if mention.object in left:
            left.remove(mention.object)
            spans.append(Span(mention.start, mention.end, "accurate"))
        elif mention.end > mention.start:
            spans.append(Span(mention.start, mention.end, "inaccurate"))
    return tuple(spans)


def _stored(records: list[Record], path: Path) -> list[Record]:
    """The records as `path` holds them: with pictures as files, which are then not written again."""
    source = build.sources.build("jsonl", path=str(path))
    return [source[i] for i in range(len(records))]
