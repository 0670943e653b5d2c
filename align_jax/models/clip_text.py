"""CLIP's text tower: a causal transformer, read at the end of the text. Radford et al. 2021.

https://arxiv.org/abs/2103.00020, section 2.4.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from align_jax.models import encoder
from align_jax.models.encoder import EncoderConfig, stack
from align_jax.models.vit_names import CLIP
from align_jax.models.weights import Tensor, norm
from align_jax.sharding import BATCH, Rules, constrain


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextConfig(EncoderConfig):
    vocab_size: int
    context: int  # tokens of a text, at most; its first and its last token included


class TextEncoder(nn.Module):
    config: TextConfig

    @nn.compact
    def __call__(self, tokens: jax.Array, end: jax.Array) -> jax.Array:
        """i32[M, T] and the position i32[M] of each text's end -> [M, dim].

        Nothing behind the end is seen: every token sees only those before it.

        Raises:
          ValueError: longer texts than the tower has positions for.
        """
        c, T = self.config, tokens.shape[1]
        if T > c.context:
            raise ValueError(f"the text tower takes {c.context} tokens, not {T}: lower data.completion_length")
        init = nn.initializers.normal(0.02)
        x = nn.Embed(c.vocab_size, c.dim, dtype=c.dtype, embedding_init=init, name="embed")(tokens)
        positions = self.param("position_embedding", init, (c.context, c.dim))
        x = constrain(x + positions[:T].astype(x.dtype)[None], BATCH, None, None)
        x, _ = stack(c, c.layers, "layers")(x, jnp.tril(jnp.ones((1, 1, T, T), bool)))
        x = jnp.take_along_axis(x, end[:, None, None], axis=1)[:, 0]
        return nn.LayerNorm(c.norm_eps, dtype=c.dtype, name="norm")(x)


def rules(config: TextConfig) -> Rules:
    """Partition rules of a text tower's parameters."""
    return (
        (r"text/embed/embedding", P("tensor", "fsdp")),
        (r"text/position_embedding$", P(None, None)),
        (r"text/norm/(scale|bias)", P(None)),
        *encoder.rules(config, "text/layers"),
    )


def weights(config: TextConfig, prefix: str) -> list[Tensor]:
    """The tower's tensors in a published checkpoint, all of which start with `prefix`."""
    return [
        Tensor("text/embed/embedding", f"{prefix}embeddings.token_embedding.weight"),
        Tensor("text/position_embedding", f"{prefix}embeddings.position_embedding.weight"),
        *norm("text/norm", f"{prefix}final_layer_norm", bias=True),
        *encoder.weights(config, "text/layers", prefix + CLIP.layer, CLIP.parts),
    ]
