"""The one matrix product that all layers are made of."""

import math

import flax.linen as nn
import jax


class Linear(nn.Module):
    """Affine map of the last `inputs` axes onto axes `features`; kernel [*inputs, *features].

    Everything before the inputs is flattened into one axis first: a weight gradient that contracts over two axes takes
    twice as long on CPUs (XLA 0.10) as the same product over one.
    """

    features: tuple[int, ...]
    inputs: int = 1
    use_bias: bool = False
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        leading, inner = x.shape[: x.ndim - self.inputs], x.shape[x.ndim - self.inputs :]
        shape = (*inner, *self.features)
        init = nn.initializers.lecun_normal(
            in_axis=tuple(range(self.inputs)), out_axis=tuple(range(self.inputs, len(shape)))
        )
        kernel = self.param("kernel", init, shape).astype(self.dtype)
        flat = x.astype(self.dtype).reshape(math.prod(leading), math.prod(inner))
        y = flat @ kernel.reshape(math.prod(inner), math.prod(self.features))
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, self.features).astype(self.dtype)
            y = y + bias.reshape(1, -1)
        return y.reshape(*leading, *self.features)
