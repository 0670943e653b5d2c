"""From features of a tower to token embeddings: the projectors of LLaVA, InternVL, Idefics3, Gemma 3 and Qwen2-Audio.

Each gathers squares of patches, or leaves them, then normalises, or does not, then applies one layer or two.
Liu et al. 2023, https://arxiv.org/abs/2310.03744; pixel shuffle: Chen et al. 2024, https://arxiv.org/abs/2404.16821.
"""

import dataclasses
from collections.abc import Mapping

import flax.linen as nn
import jax
from jax.sharding import PartitionSpec as P

from align_jax.models.activations import ACTIVATIONS
from align_jax.models.linear import Linear
from align_jax.models.norm import RMSNorm
from align_jax.models.weights import Tensor, linear
from align_jax.models.weights import norm as norm_weights
from align_jax.sharding import Rules


@dataclasses.dataclass(frozen=True)
class ProjectorConfig:
    dim: int  # of the decoder
    hidden_dim: int  # between the two layers; 0: there is one layer only
    pool: int = 1  # side of the square of patches that becomes one token
    shuffle: bool = False  # puts the patches of a square side by side (pixel shuffle) instead of averaging them
    norm: str = ""  # of what goes in: layer, rms (its scale stored around 0, as Gemma does), or none
    norm_eps: float = 1e-5
    bias: bool = True
    activation: str = "gelu"
    dtype: str = "float32"


class Projector(nn.Module):
    config: ProjectorConfig

    @nn.compact
    def __call__(self, features: jax.Array) -> jax.Array:
        """[M, T, D] -> [M, T / pool**2, dim]; where squares are gathered, T is side * side, row by row.

        Raises:
          ValueError: the patches are no square that divides into such squares.
        """
        c, x = self.config, features
        if c.pool > 1:
            x = gather_squares(x, c.pool)
            x = x.reshape(*x.shape[:2], -1) if c.shuffle else x.mean(2)
        if c.norm == "layer":
            x = nn.LayerNorm(c.norm_eps, dtype=c.dtype, name="norm")(x)
        elif c.norm == "rms":
            x = RMSNorm(c.norm_eps, offset=1.0, name="norm")(x)
        if c.hidden_dim:
            x = Linear((c.hidden_dim,), use_bias=c.bias, dtype=c.dtype, name="up")(x)
            x = ACTIVATIONS[c.activation](x)
        return Linear((c.dim,), use_bias=c.bias, dtype=c.dtype, name="down")(x)


def gather_squares(x: jax.Array, pool: int) -> jax.Array:
    """[M, side * side, D] -> [M, (side / pool)**2, pool * pool, D]: squares, and the patches of each, row by row."""
    M, patches, D = x.shape
    side = int(patches**0.5)
    if side % pool or side * side != patches:
        raise ValueError(f"{patches} patches, {side} x {side} of them, do not pool by {pool}")
    squares = x.reshape(M, side // pool, pool, side // pool, pool, D).swapaxes(2, 3)
    return squares.reshape(M, (side // pool) ** 2, pool * pool, D)


def rules(config: ProjectorConfig) -> Rules:
    """Partition rules of a projector's parameters."""
    up = ((r"projector/up/kernel", P("fsdp", "tensor")), (r"projector/up/bias", P("tensor")))
    down = ((r"projector/down/kernel", P("tensor", "fsdp")), (r"projector/down/bias", P(None)))
    each = 1 + config.bias
    return (
        *(up[:each] if config.hidden_dim else ()),
        *down[:each],
        *(((r"projector/norm/(scale|bias)", P(None)),) if config.norm else ()),
    )


LLAVA = {"up": "linear_1", "down": "linear_2"}
INTERNVL = {"norm": "layer_norm", **LLAVA}
IDEFICS3 = {"down": "modality_projection.proj"}
GEMMA3 = {"norm": "mm_soft_emb_norm", "matrix": "mm_input_projection_weight"}
QWEN2_AUDIO = {"down": "linear"}


def weights(config: ProjectorConfig, prefix: str, names: Mapping[str, str] = LLAVA) -> list[Tensor]:
    """The projector's tensors in a published checkpoint: "norm", "up", "down" -> what it calls them, behind `prefix`.

    In place of "down", "matrix" names one that is stored as [inputs, features], as ours is.
    """
    found = []
    for ours, theirs in names.items():
        if ours == "norm":
            found += norm_weights("projector/norm", prefix + theirs, bias=config.norm == "layer")
        elif ours == "matrix":
            found.append(Tensor("projector/down/kernel", prefix + theirs))
        else:
            found += linear(f"projector/{ours}", prefix + theirs, bias=config.bias)
    return found
