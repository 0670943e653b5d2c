"""Where the reference model's parameters come from. They are an argument of the step, never part of its state."""

import jax
import jax.numpy as jnp

from align_jax.types import Params


def build(mode: str, params: Params) -> Params | None:
    """Parameters of the reference, or None.

    Args:
      mode: "frozen" keeps a copy of the parameters that training starts from; "none" is for losses without one.
      params: parameters at step 0.

    Raises:
      ValueError: unknown mode.
    """
    if mode == "frozen":
        # A real copy: the step donates the state's buffers.
        return jax.tree.map(jnp.copy, params)
    if mode == "none":
        return None
    raise ValueError(f'reference is "frozen" or "none", not {mode!r}')
