"""CLIP: which of several texts is a picture's, by the angle between the two. Radford et al. 2021.

https://arxiv.org/abs/2103.00020. As a policy, it takes one step: it picks one of the K completions of a prompt, with
probability softmax_k(scale * cosine(picture, text k)).
"""

import dataclasses
import functools
import math
from typing import Any, NoReturn

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from align_jax.models import clip_text, vit
from align_jax.models.clip_text import TextConfig, TextEncoder
from align_jax.models.linear import Linear
from align_jax.models.vit import VisionConfig, VisionTransformer
from align_jax.sharding import Rules
from align_jax.types import Params, Policy, PromptTree, Scores

ABSENT = -1e30  # logit of a candidate without a token
FIRST_SCALE = math.log(1 / 0.07)


@dataclasses.dataclass(frozen=True)
class ClipConfig:
    """Sizes of the two towers, and of the space in which what they give is compared."""

    vision: VisionConfig  # pooled
    text: TextConfig
    dim: int

    idle = ()  # every parameter is read
    tied = None  # there is no head

    def computing(self, **how: Any) -> "ClipConfig":
        """The same sizes with another `dtype` of activations, or `remat`, in both towers."""
        vision, text = (dataclasses.replace(tower, **how) for tower in (self.vision, self.text))
        return dataclasses.replace(self, vision=vision, text=text)


class Clip(nn.Module):
    config: ClipConfig

    def setup(self):
        c = self.config
        self.vision, self.text = VisionTransformer(c.vision), TextEncoder(c.text)
        self.vision_projection = Linear((c.dim,), dtype=c.vision.dtype)
        self.text_projection = Linear((c.dim,), dtype=c.text.dtype)
        self.logit_scale = self.param("logit_scale", nn.initializers.constant(FIRST_SCALE), ())

    def logits(self, tree: PromptTree) -> jax.Array:
        """f32[B, K]: scaled cosines between the picture of a prompt and each of its completions.

        Raises:
          ValueError: rows with another number of pictures than one, or texts that are too long.
        """
        pixels = tree.media.pixels
        if pixels.shape[1] != 1:
            raise ValueError(f"a dual encoder looks at one picture, not {pixels.shape[1]}: set data.media_items to 1")
        # The first token starts the text, wherever it is predicted from; the last that counts ends it.
        tokens = jnp.concatenate([tree.tokens[..., :1], tree.targets], axis=-1)
        B, K, T = tokens.shape
        end = tree.mask.sum(-1).astype(jnp.int32)
        texts = self.text_projection(self.text(tokens.reshape(B * K, T), end.reshape(B * K))).reshape(B, K, -1)
        images = self.vision_projection(self.vision(pixels[:, 0]))
        scale = jnp.exp(self.logit_scale.astype(jnp.float32))
        return scale * jnp.einsum("BD,BKD->BK", _unit(images), _unit(texts))

    def __call__(self, tree: PromptTree) -> Scores:
        """Scores [B, K, R]: log-probabilities of whole completions, each where its first token stands.

        Completions without a token are no candidates.
        """
        present = tree.mask.sum(-1) > 0  # [B, K]
        logps = jax.nn.log_softmax(jnp.where(present, self.logits(tree), ABSENT))

        def at_first(x: jax.Array) -> jax.Array:
            return jnp.pad(x[..., None], [(0, 0), (0, 0), (0, tree.mask.shape[-1] - 1)])

        return Scores(at_first(jnp.where(present, logps, 0.0)), at_first(present.astype(jnp.float32)))


def _unit(x: jax.Array) -> jax.Array:
    x = x.astype(jnp.float32)
    return x / jnp.linalg.norm(x, axis=-1, keepdims=True)


@functools.cache
def build(config: ClipConfig) -> Policy:
    """The model as pure functions; equal configs give the same object: nothing compiles twice."""
    model = Clip(config)
    return Policy(
        init=lambda key, tree: model.init(key, tree)["params"],
        hidden=_writes_nothing,
        unembed=_writes_nothing,
        prefill=_writes_nothing,
        decode=_writes_nothing,
        score=lambda params, tree: model.apply({"params": params}, tree),
    )


def _writes_nothing(*_: Any) -> NoReturn:
    raise TypeError("a dual encoder judges whole texts and writes none: it has no distribution of next tokens")


def blank(config: ClipConfig) -> PromptTree:
    """A tree of zeros, as small as the model takes: shapes to initialise with."""
    token = jnp.zeros((1, 1), jnp.int32)
    return PromptTree(token, jnp.ones((1, 1)), vit.blank(config.vision), token[None], token[None], jnp.ones((1, 1, 1)))


def param_shapes(config: ClipConfig) -> Params:
    """Shapes of the parameters."""
    return jax.eval_shape(lambda: build(config).init(jax.random.key(0), blank(config)))


def rules(config: ClipConfig) -> Rules:
    """Partition rules for the parameters that a model of these sizes has."""
    return (
        *vit.rules(config.vision),
        *clip_text.rules(config.text),
        (r"(vision|text)_projection/kernel", P("fsdp", "tensor")),
        (r"logit_scale", P()),
    )
