"""From a config to objects. The only module that takes configs apart; what it returns knows nothing of them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from align_jax import registry, sharding
from align_jax.data import contrastive, sources
from align_jax.data.examples import Encode
from align_jax.data.inputs import Inputs, TileInputs
from align_jax.data.media import ImageProcessor
from align_jax.data.pack import TreePacker
from align_jax.data.published import open_inputs
from align_jax.data.records import RecordError, Source
from align_jax.data.templates import ChatTemplate, train_tokenizer
from align_jax.models import architecture, kinds, mllm
from align_jax.models.families.base import Family
from align_jax.models.kinds import Sizes
from align_jax.models.mllm import MLLMConfig
from align_jax.models.stored import whole
from align_jax.train import checkpoint
from align_jax.types import Params, Policy

PUBLISHED = "published"  # folder of a workdir: config, tokenizer and processor files of the model that it started from
TOKENIZER_TEXTS = 20_000  # records that a new tokenizer learns from


class Model(NamedTuple):
    """A policy with what turns records into its inputs, and its outputs into words."""

    policy: Policy
    sizes: Sizes
    inputs: Inputs
    prompt_length: int  # tokens that a prompt may have, placeholders of media included
    media_items: int  # tiles, patches or recordings that a prompt may have; 0: as many as its tokens allow
    family: Family | None = None  # of a published model

    def encode(self, completion_length: int, **how: Any) -> Encode:
        """Record -> example; `how` are further arguments of `Encode`."""
        return Encode(self.inputs, self.prompt_length, completion_length, max_items=self.media_items, **how)

    def packer(self, batch_size: int, completion_length: int) -> TreePacker:
        """Examples -> trees.

        Raises:
          ValueError: several hosts, which must agree on the shape of media, and no `data.media_items`.
        """
        if jax.process_count() > 1 and self.inputs.empty is not None and not self.media_items:
            raise ValueError("on several hosts, set data.media_items: tiles, patches or recordings of a prompt")
        inputs, lengths = self.inputs, (self.prompt_length, completion_length)
        return TreePacker(batch_size, *lengths, inputs.pad_id, inputs.empty, inputs.turned, self.media_items)

    def save(self, workdir: str | Path) -> None:
        """Writes what `load_model` needs besides a checkpoint."""
        if self.family is None:
            self.inputs.template.save(workdir)
        elif jax.process_index() == 0 and not (folder := Path(workdir) / PUBLISHED).exists():
            with whole(folder) as partial:
                architecture.carry(self.inputs.folder, partial)


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
      settings: a config, or what a checkpoint has of it: "model", "image", "compute" and "data".
      template: tokenizer and chat rules.

    Raises:
      ValueError: sizes that a part does not know, or that do not fit each other.
    """
    sizes, image, data = dict(settings["model"]), settings["image"], settings["data"]
    # Rounded up, so that the vocabulary divides over devices.
    decoder = {**sizes["decoder"], "vocab_size": -(-template.vocab_size // 64) * 64}
    config = MLLMConfig.from_dict({**sizes, "decoder": decoder, "placeholders": (template.image_id,)})
    config = _computing(config, settings)
    if config.vision and config.vision.image_size != image["size"]:
        raise ValueError(
            f"image.size is {image['size']}, but the vision tower takes {config.vision.image_size} pixels"
        )
    processor = ImageProcessor(**image) if config.vision else None
    inputs = TileInputs(template, processor, data["max_images"])
    items = data["max_images"] * processor.tiles if processor else 0
    return Model(mllm.build(config), config, inputs, data["prompt_length"], items)


def new_model(config: ConfigDict, texts: Iterator[str]) -> Model:
    """A model from scratch, whose tokenizer learns its words from `texts`."""
    tokenizer, settings = train_tokenizer(texts, config.tokenizer.vocab_size), config.to_dict()
    draft = model(settings, ChatTemplate(tokenizer, tokens_per_image=0))
    processor = draft.inputs.processor
    tiles = processor.tiles if processor else 0
    return model(settings, ChatTemplate(tokenizer, tiles * draft.sizes.tokens_per_picture))


def is_published(folder: str | Path) -> bool:
    """Whether a folder is a Hugging Face checkpoint, and not the workdir of a run."""
    return (Path(folder) / "config.json").exists()


def published_model(folder: str | Path, settings: Mapping[str, Any]) -> Model:
    """A published model, without parameters.

    Args:
      folder: config.json, tokenizer and processor files; the weights may be elsewhere.
      settings: a config: "compute", "processor" and "data".

    Raises:
      CheckpointError: no such model, or no family opens it.
    """
    family = architecture.open_family(folder)
    config = _computing(family.sizes, settings)
    family, data = family._replace(sizes=config), settings["data"]
    options = {name: value for name, value in settings["processor"].items() if value is not None}
    model_type = architecture.stored_config(folder)["model_type"]
    if model_type in contrastive.DUAL:
        inputs = contrastive.open_inputs(folder, data.get("completion_length"), **options)
    else:
        inputs = open_inputs(folder, model_type, **options)
    policy = kinds.of(config).build(config)
    return Model(policy, config, inputs, data["prompt_length"], data["media_items"], family)


def load_model(workdir: str | Path) -> Model:
    """The model of a run, without its parameters.

    Raises:
      CheckpointError: `workdir` is not the workdir of a run.
    """
    settings = checkpoint.load_config(workdir)
    if is_published(Path(workdir) / PUBLISHED):
        return published_model(Path(workdir) / PUBLISHED, settings)
    return model(settings, ChatTemplate.load(workdir))


def _computing(sizes: Sizes, settings: Mapping[str, Any]) -> Sizes:
    compute = {"dtype": "", "remat": False, **settings.get("compute", {})}  # runs of before have none
    return sizes.computing(**{key: compute[key] for key in ("dtype", "remat") if compute[key]})


def inherit(config: ConfigDict) -> dict[str, Any]:
    """The config as it is used and stored with checkpoints: the model of `init_from` takes the place of its own.

    Raises:
      CheckpointError: `init_from` is not the workdir of a run.
    """
    settings = config.to_dict()
    if config.init_from and is_published(config.init_from):
        settings |= {"model": {}, "image": {}, "tokenizer": {}}  # all in the files of the checkpoint
    elif config.init_from:
        start = checkpoint.load_config(config.init_from)
        settings |= {key: start.get(key, {}) for key in ("model", "image", "tokenizer", "processor")}
    return settings


def views(config: ConfigDict) -> dict[str, Any]:
    """Other pictures for the same text: view -> corruption."""
    return {view: registry.build("align_jax.preferences", **how) for view, how in config.data.views.to_dict().items()}


def param_shapes(model: Model) -> Params:
    """Shapes of a model's parameters."""
    return kinds.of(model.sizes).param_shapes(model.sizes)


def param_shardings(model: Model, mesh: Mesh) -> Params:
    """Where a model's parameters lie."""
    return sharding.shardings(mesh, sharding.match(param_shapes(model), rules(model), mesh))


def rules(model: Model) -> sharding.Rules:
    """Partition rules of a model's parameters."""
    return kinds.of(model.sizes).rules(model.sizes)


def init_params(model: Model, where: Params, seed: int) -> Params:
    """New parameters, made where they will lie."""
    tree = kinds.of(model.sizes).blank(model.sizes)
    # Of JAX's generators, the one that compiles in half of the time.
    return jax.jit(model.policy.init, out_shardings=where)(jax.random.key(seed, impl="rbg"), tree)
