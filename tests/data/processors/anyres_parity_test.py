"""Slots of LLaVA-NeXT and LLaVA-OneVision, against how the models of transformers lay their features out."""

from types import SimpleNamespace

import numpy as np
import pytest

from align_jax.data.processors.anyres import resized
from align_jax.data.processors.base import Shown
from align_jax.data.published import open_inputs
from tests import published

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

pytestmark = pytest.mark.parity
SIZES = [(1, 1), (1, 500), (500, 1), (3, 130), (40, 41), (300, 200), (210, 641), (1000, 333), (97, 97), (29, 113)]
SIZES += np.random.default_rng(0).integers(2, 900, (30, 2)).tolist()
D = 5


@pytest.fixture(scope="module", params=["llava_next", "llava_onevision"])
def made(request, tmp_path_factory):
    folder = str(tmp_path_factory.mktemp(request.param))
    config = published.make_inputs(folder, request.param)
    return request.param, config, open_inputs(folder, request.param).processor


def laid_out(shown: Shown, features: np.ndarray, newline: np.ndarray) -> np.ndarray:
    """What the placeholders take: features [n, T, D] summed by slots and weights."""
    rows = np.concatenate([features.reshape(-1, D), newline[None]])
    return (rows[shown.media.slots] * shown.media.weights[..., None]).sum(1)


def oracle(family, config, features, sizes, newline):
    model = {"llava_next": transformers.LlavaNextModel, "llava_onevision": transformers.LlavaOnevisionModel}[family]
    how = {"vision_feature_select_strategy": "default"} if family == "llava_next" else {}
    parts = [torch.from_numpy(each) for each in features]
    stub = SimpleNamespace(config=config)
    packed, _ = model.pack_image_features(
        stub, parts, torch.tensor(sizes), image_newline=torch.from_numpy(newline), **how
    )
    return [each.numpy() for each in packed]


def test_features_lie_where_transformers_puts_them(made):
    family, config, processor = made
    rng, scaled = np.random.default_rng(1), 0
    newline = rng.standard_normal(D).astype(np.float32)
    for height, width in SIZES:
        (shown,) = processor.images([rng.integers(0, 256, (height, width, 3), np.uint8)])
        tiles = len(shown.media.pixels)
        features = rng.standard_normal((tiles, processor.features, D)).astype(np.float32)
        (theirs,) = oracle(family, config, [features], [(height, width)], newline)
        ours = laid_out(shown, features, newline)
        assert ours.shape == theirs.shape, (height, width)
        np.testing.assert_allclose(ours, theirs, atol=2e-5)
        scaled += bool((shown.media.weights > 0).sum(1).max() > 1)
    assert (scaled > 3) == (family == "llava_onevision")


def test_several_pictures_have_one_tile_each(made):
    family, config, processor = made
    if family == "llava_next":
        pytest.skip("cuts them all")
    rng, newline = np.random.default_rng(2), np.ones(D, np.float32)
    shown = processor.images([rng.integers(0, 256, (*size, 3), np.uint8) for size in SIZES[:3]])
    features = rng.standard_normal((3, 1, processor.features, D)).astype(np.float32)
    theirs = oracle(family, config, features, SIZES[:3], newline)
    for each, feature, expected in zip(shown, features, theirs, strict=True):
        np.testing.assert_array_equal(laid_out(each, feature, newline), expected)


@pytest.mark.parametrize("sizes", [(9, 5, 4, 4), (3, 3, 2, 2), (5, 7, 5, 7), (4, 1, 9, 3), (6, 8, 11, 5)])
def test_grids_are_resized_as_torch_does(sizes):
    rows, columns, *new = sizes
    grid = np.random.default_rng(4).standard_normal((rows, columns)).astype(np.float32)
    cells, weights = resized(rows, columns, *new)
    theirs = torch.nn.functional.interpolate(torch.from_numpy(grid)[None, None], new, mode="bilinear")[0, 0]
    np.testing.assert_allclose((grid.ravel()[cells] * weights).sum(-1), theirs, atol=1e-6)


@pytest.mark.parametrize("frames", [1, 4])
def test_videos_are_pooled_as_transformers_does(made, frames):
    family, config, processor = made
    if family == "llava_next":
        pytest.skip("sees no videos")
    rng = np.random.default_rng(3)
    (shown,) = processor.videos([rng.integers(0, 256, (frames, 40, 50, 3), np.uint8)])
    features = rng.standard_normal((frames, processor.features, D)).astype(np.float32)
    newline = rng.standard_normal(D).astype(np.float32)
    stub = SimpleNamespace(config=config)
    pooled = transformers.LlavaOnevisionModel.apply_pooling(stub, torch.from_numpy(features)).reshape(-1, D).numpy()
    np.testing.assert_allclose(laid_out(shown, features, newline), [*pooled, newline], atol=2e-5)
    assert shown.placeholders == frames * 4 + 1  # 3 x 3 to 2 x 2
