"""Root mean square normalisation. Zhang and Sennrich 2019, https://arxiv.org/abs/1910.07467."""

import flax.linen as nn
import jax
import jax.numpy as jnp


class RMSNorm(nn.Module):
    eps: float
    offset: float = 0.0  # added to the stored scale: 1 in Gemma, whose scales are stored around 0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[..., D] -> [..., D] of the same dtype; computed in float32."""
        scale = self.param("scale", nn.initializers.constant(1.0 - self.offset), (x.shape[-1],))
        x_f32 = x.astype(jnp.float32)
        normed = x_f32 * jax.lax.rsqrt(jnp.mean(x_f32**2, axis=-1, keepdims=True) + self.eps)
        scale = jnp.expand_dims(self.offset + scale.astype(jnp.float32), range(x.ndim - 1))
        return (normed * scale).astype(x.dtype)
