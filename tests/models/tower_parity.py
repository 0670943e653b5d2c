"""What the parity tests of towers and projectors share: weights and gradients, from their names to ours."""

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from align_jax.models.weights import Tensor, to_ours, to_theirs
from align_jax.sharding import path_name

torch = pytest.importorskip("torch")


def randomised(model, scale: float = 0.1):
    """Every parameter: fresh biases are 0 and fresh norms are 1, and would hide what is done with them."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return model.eval()


def arrays_of(model, *prefixes: str) -> dict[str, np.ndarray]:
    """What a checkpoint of the model holds under names that start so."""
    return {name: x.numpy() for name, x in model.state_dict().items() if name.startswith(prefixes or "")}


def gradients_of(model, names: Sequence[str]) -> dict[str, np.ndarray | None]:
    """Of the last backward pass; None for what took no part in it."""
    parameters = dict(model.named_parameters())
    return {name: None if parameters[name].grad is None else parameters[name].grad.numpy() for name in names}


def to_params(tensors: Sequence[Tensor], arrays: Mapping[str, np.ndarray], shapes: Any) -> Any:
    """Our parameters of such shapes; asserts that every array is read once, and that it comes out again as it was."""
    by_path, read = {tensor.ours: tensor for tensor in tensors}, []
    assert len(by_path) == len(tensors)

    def load(path, like):
        tensor = by_path[path_name(path)]
        layers = [tensor.theirs.format(i + tensor.first) for i in range(like.shape[0])]
        names = layers if "{}" in tensor.theirs else [tensor.theirs]
        shape = like.shape[1:] if "{}" in tensor.theirs else like.shape
        each = [to_ours(tensor, arrays[name], shape) for name in names]
        for name, ours in zip(names, each, strict=True):
            assert tensor.their_shape(shape) == arrays[name].shape, name
            np.testing.assert_array_equal(to_theirs(tensor, ours), arrays[name])
        read.extend(names)
        return jnp.asarray(np.stack(each) if "{}" in tensor.theirs else each[0])

    params = jax.tree_util.tree_map_with_path(load, shapes)
    assert sorted(read) == sorted(arrays)
    assert len(jax.tree.leaves(params)) == len(tensors)
    return params


def compare_gradients(tensors, ours: Any, theirs: Mapping[str, np.ndarray | None], idle: Sequence[str]) -> None:
    """Asserts that gradients are equal, and that exactly what is idle has none."""
    whole = np.sqrt(sum(float((x**2).sum()) for x in theirs.values() if x is not None))
    assert whole > 1e-2
    for tensor in tensors:
        leaf = functools.reduce(lambda node, key: node[key], tensor.ours.split("/"), ours)
        for i, actual in enumerate(leaf if "{}" in tensor.theirs else [leaf]):
            expected = theirs[tensor.theirs.format(i + tensor.first)]
            is_idle = any(re.search(pattern, tensor.ours) for pattern in idle)
            assert (expected is None) == is_idle, tensor
            if is_idle:
                assert not np.any(actual), tensor
                continue
            error, size = np.linalg.norm(to_theirs(tensor, np.asarray(actual)) - expected), np.linalg.norm(expected)
            # Softmax does not see the bias of keys: their gradient is rounding, and has no relative error.
            assert error <= 1e-3 * size + 1e-6 * whole, (tensor, i, error, size)
            assert size > 1e-4 * whole or tensor.ours.endswith("key/bias"), (tensor, i, size, whole)
