"""Whisper's encoder with Qwen2-Audio's pooling: what is heard in recordings of up to one length.

Radford et al. 2022, https://arxiv.org/abs/2212.04356; Chu et al. 2024, https://arxiv.org/abs/2407.10759.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec as P

from align_jax.models import encoder
from align_jax.models.activations import ACTIVATIONS
from align_jax.models.encoder import EncoderConfig, stack
from align_jax.models.linear import Linear
from align_jax.models.weights import Tensor, linear, norm
from align_jax.sharding import BATCH, Rules, constrain
from align_jax.types import Sound

NORM_EPS = 1e-5


@dataclasses.dataclass(frozen=True, kw_only=True)
class SoundConfig(EncoderConfig):
    mels: int
    positions: int  # half the frames of a spectrogram
    attention_bias: tuple[str, ...] = ("query", "value")

    @property
    def frames(self) -> int:
        """Frames of every spectrogram, padding included."""
        return 2 * self.positions

    @property
    def tokens(self) -> int:
        """Features of every recording, those of padding included."""
        return self.positions // 2


class SoundEncoder(nn.Module):
    config: SoundConfig

    @nn.compact
    def __call__(self, media: Sound) -> jax.Array:
        """Features [B, N * tokens, dim], those of a row counted through its recordings.

        A recording of L frames has (L + 1) // 2 // 2 features; those behind are of padding. Nothing attends to
        padding, but the convolutions read a frame or two of it: it must be what the feature extractor makes of it.

        Raises:
          ValueError: spectrograms of another length.
        """
        c, (B, N, frames, mels) = self.config, media.mel.shape
        if frames != c.frames:
            raise ValueError(f"spectrograms of {frames} frames: this encoder takes {c.frames}, so pad them to that")
        x = media.mel.reshape(B * N, frames, mels)
        for name, stride in (("conv1", 1), ("conv2", 2)):
            x = ACTIVATIONS["gelu"](Linear((c.dim,), use_bias=True, dtype=c.dtype, name=name)(windows(x, stride)))
        fixed = self.param("position_embedding", sinusoids, (c.positions, c.dim))
        x = x + jax.lax.stop_gradient(fixed).astype(x.dtype)[None]
        heard = media.mask.reshape(B * N, frames)[:, ::2] > 0
        x, _ = stack(c, c.layers, "layers")(constrain(x, BATCH, None, None), heard[:, None, None, :])
        x = x[:, : 2 * c.tokens].reshape(B * N, c.tokens, 2, c.dim).mean(2)
        return nn.LayerNorm(NORM_EPS, dtype=c.dtype, name="post_norm")(x).reshape(B, N * c.tokens, c.dim)


def windows(x: jax.Array, stride: int) -> jax.Array:
    """[M, T, C] -> [M, T / stride, 3 * C]: every `stride`-th frame between its neighbours, zeros beyond the ends."""
    padded = jnp.pad(x, [(0, 0), (1, 1), (0, 0)])
    return jnp.concatenate([padded[:, i : i + x.shape[1] : stride] for i in range(3)], axis=-1)


def sinusoids(key: jax.Array, shape: tuple[int, int], dtype=jnp.float32) -> jax.Array:
    """Initial positions [length, dim]: sines, then cosines, of wavelengths from 2 pi to 20000 pi."""
    length, dim = shape
    rates = np.exp(-np.log(10000) * np.arange(dim // 2) / (dim // 2 - 1))
    angles = np.arange(length)[:, None] * rates
    return jnp.asarray(np.concatenate([np.sin(angles), np.cos(angles)], axis=1), dtype)


def blank(config: SoundConfig) -> Sound:
    """A row with one silent recording."""
    mel = jnp.zeros((1, 1, config.frames, config.mels))
    return Sound(mel, jnp.ones(mel.shape[:3]), jnp.zeros((1, 1), jnp.int32))


def idle(config: SoundConfig) -> tuple[str, ...]:
    """Patterns of the parameters that have no gradient: training leaves them as they are."""
    return ("^vision/position_embedding$",)


def rules(config: SoundConfig) -> Rules:
    """Partition rules of an encoder's parameters. It is the model's tower, and called "vision" like the others."""
    return (
        (r"vision/conv[12]/kernel", P(None, "tensor")),
        (r"vision/conv[12]/bias", P("tensor")),
        (r"vision/position_embedding$", P(None, None)),
        (r"vision/post_norm/(scale|bias)", P(None)),
        *encoder.rules(config, "vision/layers"),
    )


PARTS = {
    "attention_norm": "self_attn_layer_norm",
    "query": "self_attn.q_proj",
    "key": "self_attn.k_proj",
    "value": "self_attn.v_proj",
    "out": "self_attn.out_proj",
    "mlp_norm": "final_layer_norm",
    "up": "fc1",
    "down": "fc2",
}


def weights(config: SoundConfig, prefix: str) -> list[Tensor]:
    """The encoder's tensors in a published checkpoint, all of which start with `prefix`."""
    c = config
    return [
        *linear("vision/conv1", f"{prefix}conv1", bias=True, conv=True, shape=(c.dim, c.mels, 3)),
        *linear("vision/conv2", f"{prefix}conv2", bias=True, conv=True, shape=(c.dim, c.dim, 3)),
        Tensor("vision/position_embedding", f"{prefix}embed_positions.weight"),
        *norm("vision/post_norm", f"{prefix}layer_norm", bias=True),
        *encoder.weights(c, "vision/layers", prefix + "layers.{}", PARTS),
    ]
