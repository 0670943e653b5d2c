"""Low-rank adaptation as functions on parameter trees. Hu et al. 2021, https://arxiv.org/abs/2106.09685."""

import dataclasses
import math
import re
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from align_jax.sharding import path_name
from align_jax.types import Params

Axes = tuple[tuple[int, ...], tuple[int, ...]]  # input and output axes of a matrix
MatrixAxes = Callable[[str, jax.Array], Axes | None]  # see models/mllm.py
Adapter = dict[str, dict[str, jax.Array]]  # path of a kernel -> {"a": [..., inputs, rank], "b": [..., rank, features]}


@dataclasses.dataclass(frozen=True)
class LoraConfig:
    """What is adapted, and how much.

    Attributes:
      rank: of the change of each matrix.
      alpha: the change is scaled by alpha / rank.
      targets: patterns of paths of kernels; by default all matrices of the decoder's layers.
      rslora: scale by alpha / sqrt(rank) instead (https://arxiv.org/abs/2312.03732).
    """

    rank: int = 16
    alpha: float = 32.0
    targets: Sequence[str] = ("^decoder/layers/.*kernel$",)
    rslora: bool = False

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"LoRA needs a rank of 1 or more, not {self.rank}")

    @property
    def scale(self) -> float:
        return self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)


def init(key: jax.Array, params: Params, config: LoraConfig, matrix_axes: MatrixAxes) -> Adapter:
    """A new adapter, float32, that changes nothing yet: `a` is random as in PEFT, `b` is 0.

    Raises:
      ValueError: a pattern that matches nothing, or something that is no matrix.
    """
    leaves = {path_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(params)}
    for pattern in config.targets:
        if not any(re.search(pattern, name) for name in leaves):
            raise ValueError(f"LoRA target {pattern!r} matches no parameter; there are: {', '.join(leaves)}")
    adapter: Adapter = {}
    for name in (n for n in leaves if any(re.search(pattern, n) for pattern in config.targets)):
        axes = matrix_axes(name, leaves[name])
        if axes is None:
            raise ValueError(f"LoRA target {name} {leaves[name].shape} is no matrix of a layer: change the pattern")
        stack, inputs, features = _sizes(leaves[name].shape, axes)
        key, own = jax.random.split(key)
        bound = math.sqrt(1.0 / inputs)  # kaiming_uniform with a = sqrt(5)
        a = jax.random.uniform(own, (*stack, inputs, config.rank), minval=-bound, maxval=bound)
        adapter[name] = {"a": a, "b": jnp.zeros((*stack, config.rank, features))}
    return adapter


def merge(params: Params, adapter: Adapter, config: LoraConfig) -> Params:
    """The parameters with the adapter's change added, in their own dtypes; the sum is made in float32.

    Raises:
      ValueError: the adapter is of another model.
    """
    if strangers := adapter.keys() - {path_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)}:
        raise ValueError(f"the adapter changes what the model does not have: {', '.join(sorted(strangers))}")

    def changed(path, leaf: jax.Array) -> jax.Array:
        if path_name(path) not in adapter:
            return leaf
        a, b = adapter[path_name(path)]["a"], adapter[path_name(path)]["b"]
        change = (a.astype(jnp.float32) @ b.astype(jnp.float32)).reshape(leaf.shape)
        return (leaf.astype(jnp.float32) + config.scale * change).astype(leaf.dtype)

    return jax.tree_util.tree_map_with_path(changed, params)


def _sizes(shape: tuple[int, ...], axes: Axes) -> tuple[tuple[int, ...], int, int]:
    inputs, features = (math.prod(shape[a] for a in part) for part in axes)
    return shape[: axes[0][0]], inputs, features
