"""From vision features to token embeddings: LLaVA-1.5's two-layer MLP, after optional pooling of patches."""

import dataclasses

import flax.linen as nn
import jax
from jax.sharding import PartitionSpec as P

from align_jax.models.linear import Linear
from align_jax.sharding import Rules


@dataclasses.dataclass(frozen=True)
class ProjectorConfig:
    dim: int  # of the decoder
    hidden_dim: int
    pool: int = 1  # side of the square of patches that is averaged into one token
    dtype: str = "float32"


class Projector(nn.Module):
    config: ProjectorConfig

    @nn.compact
    def __call__(self, features: jax.Array) -> jax.Array:
        """[M, side * side, D] -> [M, (side / pool)**2, dim]."""
        c, (M, patches, D) = self.config, features.shape
        side = int(patches**0.5)
        if side % c.pool:
            raise ValueError(f"{side} x {side} patches do not pool by {c.pool}")
        x = features.reshape(M, side // c.pool, c.pool, side // c.pool, c.pool, D).mean((2, 4)).reshape(M, -1, D)
        x = nn.gelu(Linear((c.hidden_dim,), use_bias=True, dtype=c.dtype, name="up")(x), approximate=False)
        return Linear((c.dim,), use_bias=True, dtype=c.dtype, name="down")(x)


def rules(config: ProjectorConfig) -> Rules:
    """Partition rules of a projector's parameters."""
    return (
        (r"projector/up/kernel", P("fsdp", "tensor")),
        (r"projector/down/kernel", P("tensor", "fsdp")),
        (r"projector/up/bias", P("tensor")),
        (r"projector/down/bias", P(None)),
    )
