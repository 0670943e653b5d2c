"""A multimodal LLM in the shape of LLaVA: vision tower, projector, decoder. Liu et al. 2023, arXiv:2310.03744."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from align_jax.models import decoder, projector, vit
from align_jax.models.decoder import Decoder, DecoderConfig, KVCache
from align_jax.models.projector import Projector, ProjectorConfig
from align_jax.models.vit import VisionConfig, VisionTransformer
from align_jax.sharding import Rules
from align_jax.types import Media, Policy, PromptTree


@dataclasses.dataclass(frozen=True)
class MLLMConfig:
    """Sizes of the three parts; without a vision tower it is a text model."""

    decoder: DecoderConfig
    vision: VisionConfig | None = None
    projector: ProjectorConfig | None = None
    image_token: int = -1  # placeholder in prompts, one for each feature

    @property
    def tokens_per_picture(self) -> int:
        """Placeholders that one picture of the vision tower's size takes in a prompt."""
        return self.vision.patches // self.projector.pool**2 if self.vision else 0

    @classmethod
    def from_dict(cls, sizes: Mapping[str, Any]) -> "MLLMConfig":
        """From nested mappings, as they stand in a config or a checkpoint.

        Raises:
          ValueError: a key that a part does not have, or one that it lacks.
        """
        parts = {"decoder": DecoderConfig, "vision": VisionConfig, "projector": ProjectorConfig}
        try:
            return cls(**{k: parts[k](**v) if k in parts and v is not None else v for k, v in sizes.items()})
        except TypeError as error:
            raise ValueError(f"model sizes: {error}") from None


class MLLM(nn.Module):
    config: MLLMConfig

    def setup(self):
        self.decoder = Decoder(self.config.decoder)
        if self.config.vision:
            self.vision = VisionTransformer(self.config.vision)
            self.projector = Projector(self.config.projector)

    def embed(self, tokens: jax.Array, media: Media | None) -> jax.Array:
        """i32[B, P] -> [B, P, dim], with the features of a row's pictures, in order, at its placeholders."""
        x = self.decoder.embed(tokens)
        if media is None:
            return x
        B, N = media.pixels.shape[:2]
        features = self.vision(media.pixels.reshape(B * N, *media.pixels.shape[2:]))
        features = self.projector(features).reshape(B, -1, x.shape[-1])
        is_image = tokens == self.config.image_token
        slot = jnp.clip(jnp.cumsum(is_image, axis=-1) - 1, 0)
        # Pictures lie in the row that they belong to, so this gather stays on its device.
        placed = jnp.take_along_axis(features, slot[..., None], axis=1, mode="clip")
        return jnp.where(is_image[..., None], placed.astype(x.dtype), x)

    def hidden(self, tree: PromptTree) -> jax.Array:
        return self.decoder.tree(self.embed(tree.prompt, tree.media), tree.prompt_mask, tree.tokens)

    def unembed(self, hidden: jax.Array) -> jax.Array:
        return self.decoder.unembed(hidden)

    def prefill(self, prompt, prompt_mask, media, completions: int, length: int) -> KVCache:
        return self.decoder.prefill(self.embed(prompt, media), prompt_mask, completions, length)

    def decode(self, cache: KVCache, tokens: jax.Array, step: jax.Array) -> tuple[jax.Array, KVCache]:
        return self.decoder.decode(cache, tokens, step)

    def __call__(self, tree: PromptTree) -> jax.Array:
        """Logits; used to initialise every parameter, and by tests."""
        return self.unembed(self.hidden(tree))


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


def rules(config: MLLMConfig) -> Rules:
    """Partition rules for the parameters that a model of these sizes has."""
    vision = vit.rules(config.vision) + projector.rules(config.projector) if config.vision else ()
    return decoder.rules(config.decoder) + vision


def matrix_axes(path: str, param: jax.Array) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Input and output axes of a weight matrix, for optimizers that treat matrices as such; None for the rest.

    Embeddings and the head count as the rest, as usual with Muon.
    """
    if not path.endswith("kernel") or "head" in path:
        return None
    first = 1 if "/layers/" in f"/{path}" else 0  # layers are stacked on axis 0
    split = param.ndim - 2 if path.endswith("out/kernel") else first  # heads belong to the input of "out"
    return tuple(range(first, split + 1)), tuple(range(split + 1, param.ndim))
