"""Rotary position embedding: frequencies of every published kind, and positions of one or three axes."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np


@dataclasses.dataclass(frozen=True)
class Rope:
    """How positions turn queries and keys. Su et al. 2021, https://arxiv.org/abs/2104.09864.

    Attributes:
      theta: base of the frequencies.
      kind: "default"; "linear" divides positions by `factor`; "llama3" and "yarn" (https://arxiv.org/abs/2309.00071)
        stretch low frequencies only; "dynamic" stretches texts that are longer than `original_context`, which are
        refused here, and is "default" for all others.
      factor: of the stretch.
      low_freq_factor, high_freq_factor: "llama3": wavelengths, as parts of the original context, between which the
        stretch fades in.
      beta_fast, beta_slow: the same for "yarn", in rotations over the original context.
      original_context: tokens that the model was trained on before it was stretched.
      attention_factor: scale of cosines and sines under "yarn"; None computes the paper's.
      sections: M-RoPE of Qwen2-VL (https://arxiv.org/abs/2409.12191): how many frequencies turn by time, row, column.
      interleaved: whether the frequencies of the sections alternate (Qwen3-VL) instead of following each other.
    """

    theta: float = 10000.0
    kind: str = "default"
    factor: float = 1.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    original_context: int = 0
    attention_factor: float | None = None
    sections: tuple[int, ...] = ()
    interleaved: bool = False

    def frequencies(self, head_dim: int) -> tuple[np.ndarray, float]:
        """f32[head_dim / 2] in radians per position, and the scale of cosines and sines.

        Raises:
          ValueError: unknown kind.
        """
        plain = np.float32(self.theta) ** -(np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim))
        if self.kind in ("default", "dynamic"):
            return plain, 1.0
        if self.kind == "linear":
            return plain / np.float32(self.factor), 1.0
        if self.kind == "llama3":
            return self._llama3(plain), 1.0
        if self.kind == "yarn":
            scale = 0.1 * math.log(self.factor) + 1.0 if self.factor > 1 else 1.0
            return self._yarn(plain, head_dim), scale if self.attention_factor is None else self.attention_factor
        raise ValueError(
            f"rotary embedding of kind {self.kind!r} is not known: default, dynamic, linear, llama3 and yarn are"
        )

    def check(self, length: int) -> None:
        """Raises ValueError for texts of so many tokens, if their frequencies would depend on their length."""
        if self.kind == "dynamic" and length > self.original_context:
            raise ValueError(
                f"texts of {length} tokens: rotary embedding of kind 'dynamic' is the same for all lengths up to "
                f"{self.original_context} only; shorten prompts or completions"
            )

    def _llama3(self, plain: np.ndarray) -> np.ndarray:
        turns = self.original_context * plain / (2 * np.pi)  # over the original context
        low, high = self.low_freq_factor, self.high_freq_factor
        kept = np.clip((turns - low) / (high - low), 0, 1)
        return ((1 - kept) * plain / self.factor + kept * plain).astype(np.float32)

    def _yarn(self, plain: np.ndarray, head_dim: int) -> np.ndarray:
        def dimension(rotations: float) -> float:  # that turns so many times over the original context
            ratio = self.original_context / (rotations * 2 * math.pi)
            return head_dim * math.log(ratio) / (2 * math.log(self.theta))

        low = max(math.floor(dimension(self.beta_fast)), 0)
        high = min(math.ceil(dimension(self.beta_slow)), head_dim - 1)
        stretched = np.clip((np.arange(head_dim // 2) - low) / max(high - low, 0.001), 0, 1)
        return (stretched * plain / self.factor + (1 - stretched) * plain).astype(np.float32)

    def axes(self, head_dim: int) -> np.ndarray:
        """i32[head_dim / 2]: the axis of the positions that each frequency turns by."""
        if not self.sections:
            return np.zeros(head_dim // 2, np.int32)
        if not self.interleaved:
            return np.repeat(np.arange(len(self.sections)), self.sections).astype(np.int32)
        axes = np.zeros(head_dim // 2, np.int32)
        for axis in (1, 2):
            axes[axis : 3 * self.sections[axis] : 3] = axis
        return axes


def rotary(rope: Rope, positions: jax.Array, head_dim: int) -> tuple[jax.Array, jax.Array]:
    """Cosines and sines f32[..., head_dim / 2] at positions i32[..., axes]: one axis, or three for `rope.sections`."""
    frequencies, scale = rope.frequencies(head_dim)
    turned_by = rope.axes(head_dim) if positions.shape[-1] > 1 else np.zeros(head_dim // 2, np.int32)
    positions = positions.astype(jnp.float32)[..., turned_by]
    angles = positions * jnp.expand_dims(frequencies, range(positions.ndim - 1))
    return jnp.cos(angles) * scale, jnp.sin(angles) * scale


def rotate(x: jax.Array, cos: jax.Array, sin: jax.Array) -> jax.Array:
    """Turns `x` [..., heads, D] by angles [..., D / 2]; pairs are (d, d + D / 2), as in Llama on Hugging Face."""
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    cos, sin = cos[..., None, :], sin[..., None, :]
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], -1).astype(x.dtype)
