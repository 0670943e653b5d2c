"""Sizes of a vision tower over packed patches."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class PatchVisionConfig:
    patch: tuple[int, int, int, int]  # channels, frames, height and width: the order that its values come in
    dim: int
    layers: int
    heads: int
    mlp_dim: int
    out_dim: int  # of the features: the decoder's
    merge: int = 2  # side of the square of patches that becomes one feature
    window: int = 0  # patches that see each other in layers that are not in `full_layers`; 0: all of a frame do
    full_layers: tuple[int, ...] = ()
    norm: str = "layer"  # or rms
    gated: bool = False  # the MLP is down(activation(gate) * up), not down(activation(up))
    activation: str = "quick_gelu"  # or gelu_tanh, silu
    patch_bias: bool = False
    position_side: int = 0  # side of the learned grid of positions (Qwen3-VL); 0: none
    deepstack_layers: tuple[int, ...] = ()  # whose outputs become features too, for the decoder's first layers
    rope_theta: float = 10000.0
    remat: bool = False  # recompute each layer in the backward pass
    unroll: int = 1  # layers per step of the scan
    dtype: str = "float32"  # of activations

    def __post_init__(self) -> None:
        # Read from JSON they are lists, which cannot be hashed.
        for name in ("patch", "full_layers", "deepstack_layers"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
