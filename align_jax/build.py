"""From a config to objects. The only module that sees a ConfigDict; what it returns knows nothing of configs."""

from collections.abc import Iterable, Mapping
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
from align_jax.data.templates import ChatTemplate, train_tokenizer
from align_jax.models import mllm
from align_jax.models.mllm import MLLMConfig
from align_jax.train import checkpoint
from align_jax.types import Params, Policy, PromptTree


class Model(NamedTuple):
    """A policy with what turns records into its inputs, and its outputs into words."""

    policy: Policy
    sizes: MLLMConfig
    template: ChatTemplate
    processor: ImageProcessor | None


def source(config: ConfigDict):
    """The records that a config names.

    Raises:
      ValueError: unknown source, or arguments that it does not take.
      FileNotFoundError: its file is missing.
    """
    return sources.build(**config.data.source.to_dict())


def model(config: ConfigDict, texts: Iterable[str]) -> Model:
    """A new model; its tokenizer learns its words from `texts`.

    Raises:
      ValueError: sizes that a part does not know, or that do not fit each other.
    """
    sizes = config.model.to_dict()
    vision, projector = sizes.get("vision"), sizes.get("projector")
    side = vision["image_size"] // vision["patch_size"] // projector["pool"] if vision else 0
    tokens_per_image = config.image.grid**2 * side**2
    template = ChatTemplate(train_tokenizer(texts, config.tokenizer.vocab_size), tokens_per_image)
    return _assemble(sizes, config.image.to_dict(), template)


def load_model(workdir: str | Path) -> Model:
    """The model of a run, without its parameters.

    Raises:
      CheckpointError: `workdir` is not the workdir of a run.
    """
    config = checkpoint.load_config(workdir)
    return _assemble(config["model"], config["image"], ChatTemplate.load(workdir))


def _assemble(sizes: Mapping[str, Any], image: Mapping[str, int], template: ChatTemplate) -> Model:
    # Rounded up, so that the vocabulary divides over devices.
    vocab_size = -(-template.vocab_size // 64) * 64
    decoder = {**sizes["decoder"], "vocab_size": vocab_size}
    config = MLLMConfig.from_dict({**sizes, "decoder": decoder, "image_token": template.image_id})
    if config.vision and config.vision.image_size != image["size"]:
        raise ValueError(f"image.size is {image['size']}, but the vision tower takes {config.vision.image_size} pixels")
    processor = ImageProcessor(**image) if config.vision else None
    return Model(mllm.build(config), config, template, processor)


def mesh(config: ConfigDict) -> Mesh:
    """The mesh that a config asks for."""
    return sharding.make_mesh(**config.mesh.to_dict())


def encode(config: ConfigDict, model: Model, completions: tuple[str, ...] = ()) -> Encode:
    """What turns records into examples for a model."""
    views = {
        view: registry.build("align_jax.preferences", **how) for view, how in config.data.views.to_dict().items()
    }
    data = config.data
    return Encode(
        template=model.template,
        processor=model.processor,
        prompt_length=data.prompt_length,
        completion_length=data.completion_length,
        completions=completions,
        views=views,
        max_images=data.max_images,
        seed=config.seed,
    )


def packer(config: ConfigDict, model: Model, batch_size: int) -> TreePacker:
    """What pads examples into trees for a model."""
    processor = model.processor
    return TreePacker(
        batch_size=batch_size,
        prompt_length=config.data.prompt_length,
        completion_length=config.data.completion_length,
        num_images=config.data.max_images * processor.tiles if processor else 0,
        image_shape=processor.shape if processor else (1, 1, 3),
        pad_id=model.template.pad_id,
    )


def param_shapes(model: Model, tree: PromptTree) -> Params:
    """Shapes of a model's parameters; `tree` is any batch that it takes."""
    return jax.eval_shape(model.policy.init, jax.random.key(0), tree)


def init_params(model: Model, tree: PromptTree, mesh: Mesh, seed: int) -> Params:
    """New parameters, made where they will lie."""
    where = param_shardings(model, tree, mesh)
    return jax.jit(model.policy.init, out_shardings=where)(jax.random.key(seed), tree)


def load_params(workdir: str | Path, model: Model, tree: PromptTree, mesh: Mesh) -> Params:
    """Parameters of a run's last checkpoint, laid out on a mesh, whatever mesh they were saved from.

    Raises:
      CheckpointError: no checkpoint there, or one of another model.
    """
    shapes, where = param_shapes(model, tree), param_shardings(model, tree, mesh)
    like = jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), shapes, where)
    return checkpoint.load_params(workdir, like)


def param_shardings(model: Model, tree: PromptTree, mesh: Mesh) -> Params:
    """Where a model's parameters lie."""
    specs = sharding.match(param_shapes(model, tree), mllm.rules(model.sizes))
    return sharding.shardings(mesh, specs)
