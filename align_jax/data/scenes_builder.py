"""TFDS builder of the scenes, written as ArrayRecord files; needs no TensorFlow.

Splits, with the kinds of conversation in them:

  sft         scenes by the prior: 1 caption and 2 existence questions each, `yes_share` of them answered "yes"; and
              every picture of the pool alone in a cell, with all its official training questions
  preference  uniform scenes: 1 caption and 1 existence question each; half "yes", and half of the "no" ask for the
              partner of an object that is there
  evaluation  uniform scenes of test pictures: 1 caption
  in_prior    test pictures arranged by the prior: 1 caption
  official    official test questions, a simple random sample; test pictures alone in a cell

The name of the configuration, and with it the directory, spells every setting: a changed setting never reads a stale
set.
"""

import contextlib
import dataclasses
import io
import os
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds
from absl import logging
from PIL import Image

from align_jax.data import scenes

SPLITS = ("sft", "preference", "evaluation", "in_prior", "official")

# Example: an id, a scene, the pool that its cells point into, and what is said about it.
Example = tuple[str, scenes.Scene, scenes.Pool, list[scenes.Conversation]]


@dataclasses.dataclass(eq=False, kw_only=True)
class ScenesConfig(tfds.core.BuilderConfig):
    """Settings of one set. `name` is derived from them."""

    name: str = dataclasses.field(init=False)
    seed: int = 0  # of everything: pairing, frequencies, scenes, questions
    partner_share: float = 0.985  # of full rows in prior scenes that hold a pair
    yes_share: float = 0.85  # of existence questions in sft; the preference split is half and half
    sft: int = 8000  # scenes, besides the 1,778 single pictures
    preference: int = 2500  # scenes
    evaluation: int = 512  # scenes
    in_prior: int = 256  # scenes
    official: int = 2000  # questions, of 8,803

    def __post_init__(self):
        self.name = (
            f"seed{self.seed}-partner{self.partner_share}-yes{self.yes_share}"
            f"-{self.sft}-{self.preference}-{self.evaluation}-{self.in_prior}-{self.official}"
        )


def examples(split: str, config: ScenesConfig) -> Iterator[Example]:
    """The examples of one split. Each split has its own random stream: the size of one does not change another."""
    training = split in ("sft", "preference")
    # Raised once settings are chosen, so that figures are reported on scenes that none was tuned on.
    stream = 2026 if training else 2027
    rng = np.random.default_rng([config.seed, stream, SPLITS.index(split)])
    prior = scenes.Prior.draw(config.seed)
    pool = scenes.pool(split if training else "evaluation")

    if split == "sft":
        for i in range(config.sft):
            scene = scenes.draw(rng, pool, prior, config.partner_share)
            questions = [scenes.ask(rng, scene, yes=rng.random() < config.yes_share) for _ in range(2)]
            yield f"sft-{i:06d}", scene, pool, [scenes.caption(rng, scene), *questions]
        for image, conversations in scenes.official(pool):
            yield f"sft-official-{image:06d}", scenes.draw_single(rng, pool, image), pool, conversations
    elif split == "preference":
        for i in range(config.preference):
            scene = scenes.draw(rng, pool)
            question = scenes.ask(rng, scene, yes=i % 2 == 0, prior=prior if i % 4 == 1 else None)
            yield f"preference-{i:06d}", scene, pool, [scenes.caption(rng, scene), question]
    elif split == "official":
        rows = rng.choice(len(pool.questions), config.official, replace=False)
        asked = dataclasses.replace(pool, questions=tuple(pool.questions[i] for i in sorted(rows)))
        for image, conversations in scenes.official(asked):
            yield f"official-{image:06d}", scenes.draw_single(rng, pool, image), pool, conversations
    else:
        by_prior = split == "in_prior"
        for i in range(config.in_prior if by_prior else config.evaluation):
            scene = scenes.draw(rng, pool, prior if by_prior else None, config.partner_share)
            yield f"{split}-{i:06d}", scene, pool, [scenes.caption(rng, scene)]


class Scenes(tfds.core.GeneratorBasedBuilder):
    """See the head of this file."""

    VERSION = tfds.core.Version("1.0.1")  # to be raised whenever `examples` changes what it yields
    url_infos = None  # no downloads; looking for checksums needs a package that TFDS does not declare

    def _info(self) -> tfds.core.DatasetInfo:
        text = tfds.features.Text()
        return tfds.core.DatasetInfo(
            builder=self,
            description=__doc__,
            features=tfds.features.FeaturesDict(
                {
                    "id": text,
                    "image": tfds.features.Image(shape=(64, 64, 3), encoding_format="png"),
                    "objects": tfds.features.Sequence(text),
                    "conversations": tfds.features.Sequence({"prompt": text, "answer": text, "kind": text}),
                }
            ),
            homepage="https://github.com/vzhou842/easy-VQA",
            license="MIT",
        )

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split) for split in SPLITS}

    def _generate_examples(self, split):
        for name, scene, pool, conversations in examples(split, self.builder_config):
            png = io.BytesIO()  # an array would be encoded with TensorFlow
            Image.fromarray(scenes.render(scene, pool.tiles)).save(png, "PNG", compress_level=1)
            yield (
                name,
                {
                    "id": name,
                    "image": io.BytesIO(png.getvalue()),
                    "objects": list(scene.objects),
                    "conversations": [vars(c) for c in conversations],
                },
            )


@contextlib.contextmanager
def _quiet():
    """Keeps TFDS from talking of downloads and of custom configurations; errors are still raised."""
    tfds.disable_progress_bar()
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(verbosity)


def write(root: str | os.PathLike, **settings) -> str:
    """Writes the set under `root`, unless it is there already.

    Args:
      root: the TFDS data directory, shared by sets of any settings.
      **settings: fields of `ScenesConfig`.

    Returns:
      The directory of this set, for `sources.scenes(data_dir=...)`.
    """
    config = ScenesConfig(**settings)
    with _quiet():
        builder = Scenes(data_dir=os.fspath(root), config=config, file_format="array_record")
        builder.download_and_prepare()
    return os.fspath(builder.data_path)
