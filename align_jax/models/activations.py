"""Activations by name, as configs give them."""

import flax.linen as nn
import jax


def quick_gelu(x: jax.Array) -> jax.Array:
    """CLIP's approximation of GELU."""
    return x * jax.nn.sigmoid(1.702 * x)


ACTIVATIONS = {
    "gelu": lambda x: nn.gelu(x, approximate=False),
    "gelu_tanh": nn.gelu,
    "quick_gelu": quick_gelu,
    "silu": nn.silu,
}
