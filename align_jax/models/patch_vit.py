"""Vision towers that take pictures of any size as packed patches: Qwen2-VL, Qwen2.5-VL and Qwen3-VL.

Wang et al. 2024, https://arxiv.org/abs/2409.12191; Bai et al. 2025, https://arxiv.org/abs/2502.13923 and
https://arxiv.org/abs/2511.21631.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec as P

from align_jax.models.linear import Linear
from align_jax.models.patch_config import PatchVisionConfig
from align_jax.models.patch_layer import Context, PatchLayer, Schedule
from align_jax.models.patch_merger import PatchMerger
from align_jax.models.patch_positions import interpolate, rotary_2d
from align_jax.models.weights import Tensor, linear, norm
from align_jax.sharding import Rules
from align_jax.types import Patches


class PatchTransformer(nn.Module):
    config: PatchVisionConfig

    @nn.compact
    def __call__(self, media: Patches) -> tuple[jax.Array, ...]:
        """Features [B, S / merge**2, out_dim]; behind them, of the same shape, those of each of `deepstack_layers`.

        Raises:
          ValueError: S is not a multiple of the window, or of the patches that are merged.
        """
        c, S = self.config, media.segment.shape[1]
        if S % (c.window or c.merge**2):
            raise ValueError(f"rows of {S} patches: they must hold a multiple of {c.window or c.merge**2}")
        pixels = jnp.where(media.segment[..., None] > 0, media.pixels, 0.0)
        x = Linear((c.dim,), use_bias=c.patch_bias, dtype=c.dtype, name="patch")(pixels)
        if c.position_side:
            grid = self.param("position_embedding", nn.initializers.normal(0.02), (c.position_side**2, c.dim))
            x = x + interpolate(grid, media.place, media.size).astype(x.dtype)
        x, kept = self._run_layers(x, Context(*rotary_2d(media.place, c.dim // c.heads, c.rope_theta), media.segment))

        def merge(x: jax.Array, name: str, norm_merged: bool) -> jax.Array:
            return PatchMerger(c.merge**2, c.out_dim, c.norm, norm_merged, c.dtype, name=name)(x)

        return merge(x, "merger", False), *(merge(y, f"deepstack_{i}", True) for i, y in enumerate(kept))

    def _run_layers(self, x: jax.Array, context: Context) -> tuple[jax.Array, jax.Array]:
        """[B, S, dim] behind the last layer, and [D, B, S, dim] behind the D `deepstack_layers`."""
        c = self.config
        layers = nn.scan(
            PatchLayer,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=(nn.broadcast, 0),
            length=c.layers,
            unroll=c.unroll,
        )
        layer = np.arange(c.layers)
        schedule = Schedule(np.isin(layer, c.full_layers), layer[:, None] == np.array(c.deepstack_layers, int)[None])
        kept = jnp.zeros((len(c.deepstack_layers), *x.shape), x.dtype)
        return layers(c, name="layers")((x, kept), context, jax.tree.map(jnp.asarray, schedule))[0]


def blank(config: PatchVisionConfig) -> Patches:
    """A row with one picture of zeros."""
    count = config.window or config.merge**2
    place = jnp.zeros((1, count, 2), jnp.int32)
    pixels = jnp.zeros((1, count, math.prod(config.patch)))
    return Patches(pixels, jnp.ones((1, count), jnp.int32), place, place + 1, jnp.zeros((1, 1), jnp.int32))


def idle(config: PatchVisionConfig) -> tuple[str, ...]:
    """Patterns of the parameters that nothing reads: none."""
    return ()


def rules(config: PatchVisionConfig) -> Rules:
    """Partition rules of a tower's parameters, mergers included."""
    patch_bias = ((r"vision/patch/bias", P("tensor")),) if config.patch_bias else ()
    positions = ((r"vision/position_embedding$", P(None, None)),) if config.position_side else ()
    mergers = r"vision/(merger|deepstack_\d+)"
    return (
        (r"vision/patch/kernel", P(None, "tensor")),
        *patch_bias,
        *positions,
        (r"vision/layers/.*norm/(scale|bias)", P(None, None)),
        (r"vision/layers/qkv/kernel", P(None, "fsdp", None, "tensor", None)),
        (r"vision/layers/qkv/bias", P(None, None, "tensor", None)),
        (r"vision/layers/out/kernel", P(None, "tensor", None, "fsdp")),
        (r"vision/layers/(gate|up)/kernel", P(None, "fsdp", "tensor")),
        (r"vision/layers/(gate|up)/bias", P(None, "tensor")),
        (r"vision/layers/down/kernel", P(None, "tensor", "fsdp")),
        (r"vision/layers/(out|down)/bias", P(None, None)),
        (f"{mergers}/norm/(scale|bias)", P(None)),
        (f"{mergers}/up/kernel", P("fsdp", "tensor")),
        (f"{mergers}/up/bias", P("tensor")),
        (f"{mergers}/down/kernel", P("tensor", "fsdp")),
        (f"{mergers}/down/bias", P(None)),
    )


def weights(config: PatchVisionConfig, prefix: str) -> list[Tensor]:
    """The tower's tensors in a published checkpoint; `prefix` is "visual." or "model.visual."."""
    c, block, bias = config, f"{prefix}blocks.{{}}", config.norm == "layer"
    # Qwen3-VL, the one with learned positions, renamed what its forerunners have.
    renamed = c.position_side > 0
    up, down = ("linear_fc1", "linear_fc2") if renamed else ("fc1", "fc2")
    mlp = {"gate": "gate_proj", "up": "up_proj", "down": "down_proj"} if c.gated else {"up": up, "down": down}

    def merger(ours: str, theirs: str) -> list[Tensor]:
        theirs_norm, up, down = ("norm", "linear_fc1", "linear_fc2") if renamed else ("ln_q", "mlp.0", "mlp.2")
        return [
            *norm(f"vision/{ours}/norm", f"{prefix}{theirs}.{theirs_norm}", bias=bias),
            *linear(f"vision/{ours}/up", f"{prefix}{theirs}.{up}", bias=True),
            *linear(f"vision/{ours}/down", f"{prefix}{theirs}.{down}", bias=True),
        ]

    tensors = [
        Tensor("vision/patch/kernel", f"{prefix}patch_embed.proj.weight", inputs=1, shape=(c.dim, *c.patch)),
        *norm("vision/layers/attention_norm", f"{block}.norm1", bias=bias),
        *linear("vision/layers/qkv", f"{block}.attn.qkv", bias=True),
        *linear("vision/layers/out", f"{block}.attn.proj", inputs=2, bias=True),
        *norm("vision/layers/mlp_norm", f"{block}.norm2", bias=bias),
        *(
            t
            for ours, theirs in mlp.items()
            for t in linear(f"vision/layers/{ours}", f"{block}.mlp.{theirs}", bias=True)
        ),
        *merger("merger", "merger"),
        *(t for i in range(len(c.deepstack_layers)) for t in merger(f"deepstack_{i}", f"deepstack_merger_list.{i}")),
    ]
    if c.patch_bias:
        tensors.append(Tensor("vision/patch/bias", f"{prefix}patch_embed.proj.bias"))
    if c.position_side:
        tensors.append(Tensor("vision/position_embedding", f"{prefix}pos_embed.weight"))
    return tensors
