"""Attention over prompt trees: one softmax over several segments of keys, none of which is ever repeated.

Shape suffixes: B prompts, K completions, R queries, S keys, H key-value heads, G query heads per key-value head, D.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Segment(NamedTuple):
    """Keys that are attended to together."""

    keys: jax.Array  # [B, S, H, D] shared by all completions of a prompt, or [B, K, S, H, D] each one's own
    values: jax.Array  # like keys
    mask: jax.Array | None  # bool, broadcasts to [B, K, R, S]: True where a query sees a key; None: everywhere


def attend(
    queries: jax.Array, segments: list[Segment], scale: float | None = None, softcap: float | None = None
) -> jax.Array:
    """Grouped-query attention with one softmax, in float32, over the keys of all segments.

    Args:
      queries: [B, K, R, H * G, D].
      segments: at least one; all with the same H and D.
      scale: of the queries; D**-0.5 if not given.
      softcap: bound that logits are squeezed below by tanh (Gemma 2).

    Returns:
      [B, K, R, H * G, D], of the queries' dtype. A query that sees no key gets a finite, meaningless value.
    """
    B, K, R, heads, D = queries.shape
    H = segments[0].keys.shape[-2]
    q_BKRHGD = queries.reshape(B, K, R, H, heads // H, D) * (D**-0.5 if scale is None else scale)
    logits = []
    for keys, _, mask in segments:
        own = "K" if keys.ndim == 5 else ""
        x_BKHGRS = jnp.einsum(f"BKRHGD,B{own}SHD->BKHGRS", q_BKRHGD, keys).astype(jnp.float32)
        if softcap is not None:
            x_BKHGRS = softcap * jnp.tanh(x_BKHGRS / softcap)
        logits.append(x_BKHGRS if mask is None else jnp.where(mask[..., None, None, :, :], x_BKHGRS, -1e30))
    weights = jax.nn.softmax(jnp.concatenate(logits, -1), axis=-1).astype(queries.dtype)
    out, start = 0.0, 0
    for _, values, _ in segments:
        own, length = ("K" if values.ndim == 5 else ""), values.shape[-3]
        out += jnp.einsum(f"BKHGRS,B{own}SHD->BKRHGD", weights[..., start : start + length], values)
        start += length
    return out.reshape(B, K, R, heads, D)
