"""From a config to objects. The only module that takes configs apart; what it returns knows nothing of them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from align_jax import registry, sharding
from align_jax.data import sources
from align_jax.data.examples import Encode
from align_jax.data.media import ImageProcessor
from align_jax.data.pack import TreePacker
from align_jax.data.records import RecordError, Source
from align_jax.data.templates import ChatTemplate, train_tokenizer
from align_jax.models import mllm
from align_jax.models.mllm import MLLMConfig
from align_jax.train import checkpoint
from align_jax.types import Params, Policy

TOKENIZER_TEXTS = 20_000  # records that a new tokenizer learns from


class Model(NamedTuple):
    """A policy with what turns records into its inputs, and its outputs into words."""

    policy: Policy
    sizes: MLLMConfig
    template: ChatTemplate
    processor: ImageProcessor | None
    prompt_length: int  # tokens that a prompt may have, placeholders of pictures included
    max_images: int  # of a prompt

    def encode(self, completion_length: int, **how: Any) -> Encode:
        """Record -> example; `how` are further arguments of `Encode`."""
        lengths = self.prompt_length, completion_length
        return Encode(self.template, self.processor, *lengths, max_images=self.max_images, **how)

    def packer(self, batch_size: int, completion_length: int) -> TreePacker:
        """Examples -> trees."""
        tiles, shape = (self.processor.tiles, self.processor.shape) if self.processor else (0, (1, 1, 3))
        lengths = self.prompt_length, completion_length
        return TreePacker(batch_size, *lengths, self.max_images * tiles, shape, self.template.pad_id)


def mesh(config: ConfigDict) -> Mesh:
    """The mesh that a config asks for."""
    return sharding.make_mesh(**config.mesh.to_dict())


def source(config: ConfigDict) -> Source:
    """The records that a config names.

    Raises:
      ValueError: unknown source, or arguments that it does not take.
      FileNotFoundError: its file is missing.
    """
    return sources.build(**config.data.source.to_dict())


def texts(source: Source) -> Iterator[str]:
    """What a new tokenizer may learn its words from: records from all over the source, which may be sorted by kind."""
    for i in range(0, len(source), max(1, len(source) // TOKENIZER_TEXTS)):
        try:
            record = source[i]
        except RecordError:  # training will count and report it
            continue
        yield from (text for text in (record.prompt, record.chosen, record.rejected) if text)


def model(settings: Mapping[str, Any], template: ChatTemplate) -> Model:
    """A model of given sizes, without parameters.

    Args:
      settings: a config, or what a checkpoint has of it: "model", "image" and "data".
      template: tokenizer and chat rules.

    Raises:
      ValueError: sizes that a part does not know, or that do not fit each other.
    """
    sizes, image, data = dict(settings["model"]), settings["image"], settings["data"]
    # Rounded up, so that the vocabulary divides over devices.
    decoder = {**sizes["decoder"], "vocab_size": -(-template.vocab_size // 64) * 64}
    config = MLLMConfig.from_dict({**sizes, "decoder": decoder, "image_token": template.image_id})
    if config.vision and config.vision.image_size != image["size"]:
        raise ValueError(
            f"image.size is {image['size']}, but the vision tower takes {config.vision.image_size} pixels"
        )
    processor = ImageProcessor(**image) if config.vision else None
    return Model(mllm.build(config), config, template, processor, data["prompt_length"], data["max_images"])


def new_model(config: ConfigDict, texts: Iterator[str]) -> Model:
    """A model from scratch, whose tokenizer learns its words from `texts`."""
    tokenizer, settings = train_tokenizer(texts, config.tokenizer.vocab_size), config.to_dict()
    draft = model(settings, ChatTemplate(tokenizer, tokens_per_image=0))
    tiles = draft.processor.tiles if draft.processor else 0
    return model(settings, ChatTemplate(tokenizer, tiles * draft.sizes.tokens_per_picture))


def load_model(workdir: str | Path) -> Model:
    """The model of a run, without its parameters.

    Raises:
      CheckpointError: `workdir` is not the workdir of a run.
    """
    return model(checkpoint.load_config(workdir), ChatTemplate.load(workdir))


def inherit(config: ConfigDict) -> dict[str, Any]:
    """The config as it is used and stored with checkpoints: the model of `init_from` takes the place of its own.

    Raises:
      CheckpointError: `init_from` is not the workdir of a run.
    """
    settings = config.to_dict()
    if config.init_from:
        start = checkpoint.load_config(config.init_from)
        settings |= {key: start[key] for key in ("model", "image", "tokenizer")}
    return settings


def views(config: ConfigDict) -> dict[str, Any]:
    """Other pictures for the same text: view -> corruption."""
    return {view: registry.build("align_jax.preferences", **how) for view, how in config.data.views.to_dict().items()}


def param_shapes(model: Model) -> Params:
    """Shapes of a model's parameters."""
    tree = model.packer(1, 1)((), ("any",))
    return jax.eval_shape(model.policy.init, jax.random.key(0), tree)


def param_shardings(model: Model, mesh: Mesh) -> Params:
    """Where a model's parameters lie."""
    return sharding.shardings(mesh, sharding.match(param_shapes(model), mllm.rules(model.sizes)))


def init_params(model: Model, where: Params, seed: int) -> Params:
    """New parameters, made where they will lie."""
    tree = model.packer(1, 1)((), ("any",))
    # Of JAX's generators, the one that compiles in half of the time.
    return jax.jit(model.policy.init, out_shardings=where)(jax.random.key(seed, impl="rbg"), tree)
