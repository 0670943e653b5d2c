"""What the tokens of a prompt tree may see of each other: masks, made once for all layers.

Shape suffixes: B prompts, P prompt tokens, R completion tokens.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Sight(NamedTuple):
    """Masks bool, True where a query (next to last axis) sees a key (last axis)."""

    prompt: jax.Array | None  # [B, 1, P, P] prompt to prompt
    back: jax.Array | None  # [B, 1, R, P] completion to prompt
    own: jax.Array | None  # [1, 1, R, R] completion to itself; decoding: [1, 1, 1, room] to what is in the cache


def of_tree(prompt_mask: jax.Array, length: int, window: int = 0, blocks: jax.Array | None = None) -> Sight:
    """Masks of prompts with completions of `length` tokens.

    Args:
      prompt_mask: f32[B, P].
      length: R; 0 for prompts alone.
      window: how many tokens back a token sees, itself included; 0 for all.
      blocks: i32[B, P], equal and above 0 for prompt tokens that see each other in both directions (a picture of
        Gemma 3); 0 for the rest.
    """
    order = jnp.cumsum(prompt_mask, axis=-1)  # f32[B, P], from 1; padding shares the number of what stands before it
    seen = prompt_mask[:, None, None, :] > 0
    P = prompt_mask.shape[1]
    forward = jnp.tril(jnp.ones((P, P), bool))[None]
    if blocks is not None:
        forward = forward | ((blocks[:, :, None] == blocks[:, None, :]) & (blocks[:, :, None] > 0))
    prompt = forward[:, None] & seen
    if window:
        prompt = prompt & _near(order, order, window)[:, None]
    if not length:
        return Sight(prompt, None, None)
    steps = jnp.arange(length, dtype=jnp.float32)
    own = jnp.tril(jnp.ones((length, length), bool))
    back = seen
    if window:
        own = own & _near(steps[None], steps[None], window)[0]
        back = seen & _near(prompt_mask.sum(-1)[:, None] + 1 + steps[None], order, window)[:, None]
    return Sight(prompt, back, own[None, None])


def of_step(prompt_mask: jax.Array, room: int, step: jax.Array, window: int = 0) -> Sight:
    """Masks of completion token number `step`, the only query, over a cache with `room` for completion tokens."""
    past = jnp.arange(room)
    own, back = past < step, prompt_mask[:, None, None, :] > 0
    if window:
        own = own & (past > step - window)
        here = prompt_mask.sum(-1)[:, None] + 1 + step
        back = back & _near(here, jnp.cumsum(prompt_mask, axis=-1), window)[:, None]
    return Sight(None, back, own[None, None, None])


def _near(queries: jax.Array, keys: jax.Array, window: int) -> jax.Array:
    """bool[B, Q, S]: keys that are fewer than `window` tokens behind queries."""
    return keys[:, None, :] > queries[:, :, None] - window
