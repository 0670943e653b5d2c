"""A multimodal LLM: a tower for what is seen or heard, a projector, and a decoder over prompt trees."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from align_jax.models import decoder, patch_vit, projector, vit, whisper
from align_jax.models.decoder import Decoder, DecoderConfig, KVCache
from align_jax.models.patch_vit import PatchTransformer, PatchVisionConfig
from align_jax.models.projector import Projector, ProjectorConfig
from align_jax.models.vit import VisionConfig, VisionTransformer
from align_jax.models.whisper import SoundConfig, SoundEncoder
from align_jax.sharding import Rules
from align_jax.types import Media, Params, Policy, PromptTree, Tiles

# What a part may be: class of its sizes -> its module, and the file that has its partition rules.
TOWERS = {
    VisionConfig: (VisionTransformer, vit),
    PatchVisionConfig: (PatchTransformer, patch_vit),
    SoundConfig: (SoundEncoder, whisper),
}
PROJECTORS = {ProjectorConfig: (Projector, projector)}


@dataclasses.dataclass(frozen=True)
class MLLMConfig:
    """Sizes of the parts; without a tower it is a text model."""

    decoder: DecoderConfig
    vision: Any = None  # sizes of the tower, of a class in TOWERS; also of one that hears
    projector: Any = None  # of a class in PROJECTORS; None where the tower has one of its own
    placeholders: tuple[int, ...] = ()  # tokens of prompts that features take the place of
    newline: bool = False  # a learned feature that ends lines of tiles: LLaVA-NeXT
    blocks: bool = False  # the placeholders of a picture see each other in both directions: Gemma 3

    @property
    def tokens_per_picture(self) -> int:
        """Placeholders that one tile takes in a prompt, for towers that see tiles."""
        return self.vision.patches // self.projector.pool**2 if self.vision else 0

    @property
    def idle(self) -> tuple[str, ...]:
        """Patterns of parameters that the checkpoint has and nothing reads."""
        return () if self.vision is None else TOWERS[type(self.vision)][1].idle(self.vision)

    @property
    def tied(self) -> bool:
        """Whether the head is the embeddings."""
        return self.decoder.tie_embeddings

    def computing(self, **how: Any) -> "MLLMConfig":
        """The same sizes with another `dtype` of activations, or `remat`, wherever a part has such a setting."""

        def changed(part: Any) -> Any:
            known = {field.name for field in dataclasses.fields(part)} if part is not None else set()
            return dataclasses.replace(part, **{k: v for k, v in how.items() if k in known}) if known else part

        return dataclasses.replace(
            self, decoder=changed(self.decoder), vision=changed(self.vision), projector=changed(self.projector)
        )

    @classmethod
    def from_dict(cls, sizes: Mapping[str, Any]) -> "MLLMConfig":
        """From nested mappings, as they stand in a config: a decoder, and a CLIP-like tower with a LLaVA projector.

        Raises:
          ValueError: a key that a part does not have, or one that it lacks.
        """
        parts = {"decoder": DecoderConfig, "vision": VisionConfig, "projector": ProjectorConfig}
        try:
            return cls(**{k: parts[k](**v) if k in parts and v is not None else v for k, v in sizes.items()})
        except TypeError as error:
            raise ValueError(f"model sizes: {error}") from None


class Newline(nn.Module):
    """The learned feature behind every line of tiles. LLaVA-NeXT."""

    dim: int

    @nn.compact
    def __call__(self) -> jax.Array:
        return self.param("embedding", nn.initializers.normal(0.02), (self.dim,))


class MLLM(nn.Module):
    config: MLLMConfig

    def setup(self):
        c = self.config
        self.decoder = Decoder(c.decoder)
        if c.vision is not None:
            self.vision = TOWERS[type(c.vision)][0](c.vision)
        if c.projector is not None:
            self.projector = PROJECTORS[type(c.projector)][0](c.projector)
        if c.newline:
            self.newline = Newline(c.decoder.dim)

    def features(self, media: Media) -> tuple[jax.Array, ...]:
        """[B, T, dim] of each row's media; behind it, of the same shape, what deeper layers get (Qwen3-VL)."""
        if not isinstance(media, Tiles):
            x = self.vision(media)
            return x if self.config.projector is None else (self.projector(x),)
        B, N = media.pixels.shape[:2]
        x = self.projector(self.vision(media.pixels.reshape(B * N, *media.pixels.shape[2:])))
        x = x.reshape(B, -1, x.shape[-1])
        if self.config.newline:
            end = jnp.broadcast_to(self.newline().astype(x.dtype)[None, None], (B, 1, x.shape[-1]))
            x = jnp.concatenate([x, end], axis=1)
        return (x,)

    def embed(self, tree: PromptTree) -> tuple[jax.Array, jax.Array | None, jax.Array | None]:
        """What the decoder takes of prompts: embeddings [B, P, dim], blocks and deepstack (see `Decoder.tree`)."""
        tokens, x = tree.prompt, self.decoder.embed_tokens(tree.prompt)
        is_media = functools.reduce(jnp.logical_or, [tokens == t for t in self.config.placeholders], tokens < 0)
        is_media = is_media & (tree.prompt_mask > 0)
        blocks = None
        if self.config.blocks:
            starts = is_media & ~jnp.pad(is_media[:, :-1], [(0, 0), (1, 0)])
            blocks = jnp.where(is_media, jnp.cumsum(starts, axis=-1), 0)
        if tree.media is None:
            return x, blocks, None
        # Media lie in the row that they belong to, so these gathers stay on their device.
        slot = jnp.clip(jnp.cumsum(is_media, axis=-1) - 1, 0)
        here = is_media[..., None]
        features, *deeper = (place(feature, tree.media, slot).astype(x.dtype) for feature in self.features(tree.media))
        deepstack = jnp.stack([jnp.where(here, deep, 0) for deep in deeper]) if deeper else None
        return jnp.where(here, features, x), blocks, deepstack

    def hidden(self, tree: PromptTree) -> jax.Array:
        x, blocks, deepstack = self.embed(tree)
        return self.decoder.tree(x, tree.prompt_mask, tree.tokens, tree.positions, tree.start, blocks, deepstack)

    def unembed(self, hidden: jax.Array) -> jax.Array:
        return self.decoder.unembed(hidden)

    def prefill(self, tree: PromptTree, completions: int, length: int) -> KVCache:
        x, blocks, deepstack = self.embed(tree)
        turns = tree.positions, tree.start
        return self.decoder.prefill(x, tree.prompt_mask, completions, length, *turns, blocks, deepstack)

    def decode(self, cache: KVCache, tokens: jax.Array, step: jax.Array) -> tuple[jax.Array, KVCache]:
        return self.decoder.decode(cache, tokens, step)

    def __call__(self, tree: PromptTree) -> jax.Array:
        """Logits; used to initialise every parameter, and by tests."""
        return self.unembed(self.hidden(tree))


def place(features: jax.Array, media: Media, slot: jax.Array) -> jax.Array:
    """Features [B, P, D] of prompt tokens, from features [B, T, D] and the number i32[B, P] of each placeholder."""

    def pick(x: jax.Array, index: jax.Array) -> jax.Array:
        return jnp.take_along_axis(x, index[..., None], axis=1, mode="clip")

    if media.slots is None:
        return pick(features, slot)
    if media.slots.ndim == 2:
        return pick(features, jnp.take_along_axis(media.slots, slot, axis=1, mode="clip"))
    slots, weights = pick(media.slots, slot), pick(media.weights, slot)  # [B, P, taps]
    slots = jnp.where(slots < 0, features.shape[1] - 1, slots)
    weights = weights.astype(features.dtype)
    return sum(pick(features, slots[..., tap]) * weights[..., tap, None] for tap in range(slots.shape[-1]))


@functools.cache
def build(config: MLLMConfig) -> Policy:
    """The model as pure functions of `(params, ...)`; equal configs give the same object: nothing compiles twice."""
    model = MLLM(config)

    def method(function):
        return lambda params, *args: model.apply({"params": params}, *args, method=function)

    return Policy(
        init=lambda key, tree: model.init(key, tree)["params"],
        hidden=method(MLLM.hidden),
        unembed=method(MLLM.unembed),
        prefill=method(MLLM.prefill),
        decode=method(MLLM.decode),
    )


def blank(config: MLLMConfig) -> PromptTree:
    """A tree of zeros, as small as the model takes: shapes to initialise with."""
    token = jnp.zeros((1, 1), jnp.int32)
    media = None if config.vision is None else TOWERS[type(config.vision)][1].blank(config.vision)
    turns = (jnp.zeros((1, 1, 3), jnp.int32), token[0]) if config.decoder.rope.sections else ()
    return PromptTree(token, jnp.ones((1, 1)), media, token[None], token[None], jnp.ones((1, 1, 1)), *turns)


def param_shapes(config: MLLMConfig) -> Params:
    """Shapes of the parameters."""
    return jax.eval_shape(lambda: build(config).init(jax.random.key(0), blank(config)))


def rules(config: MLLMConfig) -> Rules:
    """Partition rules for the parameters that a model of these sizes has."""
    found = list(decoder.rules(config.decoder))
    for part, kinds in ((config.vision, TOWERS), (config.projector, PROJECTORS)):
        found += kinds[type(part)][1].rules(part) if part is not None else ()
    return tuple(found) + (((r"newline/embedding", P(None)),) if config.newline else ())


def matrix_axes(path: str, param: jax.Array) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Input and output axes of a weight matrix, for optimizers that treat matrices as such; None for the rest.

    Embeddings and the head count as the rest, as usual with Muon.
    """
    if not path.endswith("kernel") or "head" in path:
        return None
    first = 1 if "/layers/" in f"/{path}" else 0  # layers are stacked on axis 0
    split = param.ndim - 2 if path.endswith("out/kernel") else first  # heads belong to the input of "out"
    return tuple(range(first, split + 1)), tuple(range(split + 1, param.ndim))
