"""How our parameters are named, shaped and stacked in a published checkpoint, and back again: one tensor for one."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Tensor(NamedTuple):
    """One of our parameters, or one layer of it, as a Hugging Face checkpoint stores it.

    `ours` has [*inputs, *features] behind the axis of layers; `theirs` has [features, inputs], as torch does.
    """

    ours: str  # "decoder/layers/mlp/up/kernel"
    theirs: str  # "model.layers.{}.mlp.up_proj.weight"; {} is the layer's number: ours has layers on its first axis
    inputs: int = 0  # leading axes of ours that are inputs; 0: both sides have the same values in the same order
    conv: bool = False  # theirs [features, channels, *window] is ours [*window, channels] by [features]
    flat: bool = False  # theirs has one axis
    shape: tuple[int, ...] = ()  # of theirs, where it is none of these, nor that of ours
    first: int = 0  # number of the first layer

    def their_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Shape of theirs, from that of ours (of one layer)."""
        if self.shape or not self.inputs:
            return self.shape or ((math.prod(shape),) if self.flat else tuple(shape))
        return (math.prod(shape[self.inputs :]), math.prod(shape[: self.inputs]))


Weights = Sequence[Tensor]


def linear(ours: str, theirs: str, *, inputs: int = 1, bias: bool = False, first: int = 0, **facts) -> list[Tensor]:
    """The kernel of a `models.linear.Linear`, and its bias."""
    kernel = Tensor(f"{ours}/kernel", f"{theirs}.weight", inputs, first=first, **facts)
    return [kernel, Tensor(f"{ours}/bias", f"{theirs}.bias", flat=True, first=first)] if bias else [kernel]


def norm(ours: str, theirs: str, *, bias: bool = False, **facts) -> list[Tensor]:
    """The scale of an RMSNorm; with `bias`, scale and bias of a LayerNorm."""
    scale = Tensor(f"{ours}/scale", f"{theirs}.weight", **facts)
    return [scale, Tensor(f"{ours}/bias", f"{theirs}.bias", **facts)] if bias else [scale]


def to_ours(tensor: Tensor, array: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Their array as our parameter of `shape` (of one layer); a view where NumPy can make one."""
    if tensor.conv:
        return np.moveaxis(array, (0, 1), (-1, -2)).reshape(shape)
    return array.reshape(len(array), -1).T.reshape(shape) if tensor.inputs else array.reshape(shape)


def to_theirs(tensor: Tensor, array: np.ndarray) -> np.ndarray:
    """Our parameter (of one layer) as their array: the inverse of `to_ours`."""
    shape = tensor.their_shape(array.shape)
    if tensor.conv:
        features, channels, *window = shape
        return np.moveaxis(array.reshape(*window, channels, features), (-1, -2), (0, 1))
    if not tensor.inputs:
        return array.reshape(shape)
    return array.reshape(math.prod(array.shape[: tensor.inputs]), -1).T.reshape(shape)
