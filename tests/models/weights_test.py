"""Our parameters and their tensors hold the same values, and say the same of the same input."""

import numpy as np
import pytest

from align_jax.models.weights import Tensor, to_ours, to_theirs

SHAPES = {  # kind -> tensor, shape of ours, shape of theirs
    "scale": (Tensor("a", "b"), (6,), (6,)),
    "bias of heads": (Tensor("a", "b", flat=True), (3, 2, 4), (24,)),
    "embedding": (Tensor("a", "b"), (7, 6), (7, 6)),
    "linear": (Tensor("a", "b", inputs=1), (6, 10), (10, 6)),
    "linear onto heads": (Tensor("a", "b", inputs=1), (6, 3, 2, 4), (24, 6)),
    "linear of heads": (Tensor("a", "b", inputs=2), (2, 4, 10), (10, 8)),
    "patches, channels first": (Tensor("a", "b", inputs=1, shape=(10, 3, 2, 4, 4)), (96, 10), (10, 3, 2, 4, 4)),
    "patches, channels last": (Tensor("a", "b", conv=True, shape=(10, 3, 4, 4)), (48, 10), (10, 3, 4, 4)),
    "convolution over time": (Tensor("a", "b", conv=True, shape=(10, 6, 3)), (3, 6, 10), (10, 6, 3)),
}


@pytest.fixture(params=SHAPES)
def kind(request):
    tensor, ours, theirs = SHAPES[request.param]
    return tensor, ours, np.random.default_rng(0).normal(size=theirs).astype(np.float32)


def test_there_and_back_is_the_same(kind):
    tensor, shape, theirs = kind
    ours = to_ours(tensor, theirs, shape)
    assert ours.shape == shape
    np.testing.assert_array_equal(to_theirs(tensor, ours), theirs)


def test_kernels_say_the_same_of_an_input(kind):
    tensor, shape, theirs = kind
    if not (tensor.inputs or tensor.conv):
        pytest.skip("no kernel")
    ours = to_ours(tensor, theirs, shape)
    x = np.random.default_rng(1).normal(size=theirs.shape[1:]).astype(np.float32)
    expected = np.tensordot(theirs, x, x.ndim)
    if tensor.conv:
        x = np.moveaxis(x, 0, -1)  # channels last
    np.testing.assert_allclose(x.ravel() @ ours.reshape(x.size, -1), expected, rtol=1e-5, atol=1e-5)
