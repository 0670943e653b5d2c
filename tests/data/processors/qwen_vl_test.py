"""Pictures and videos for Qwen2-VL, Qwen2.5-VL and Qwen3-VL, against what transformers makes of them."""

import dataclasses
import functools
import json
import pickle
from types import SimpleNamespace

import numpy as np
import pytest

from align_jax import registry
from align_jax.data.processors.qwen_patches import fit
from align_jax.data.records import RecordError

transformers = pytest.importorskip("transformers")

FAMILIES = {
    "qwen2_vl": transformers.Qwen2VLConfig,
    "qwen2_5_vl": transformers.Qwen2_5_VLConfig,
    "qwen3_vl": transformers.Qwen3VLConfig,
}
SIZES = ((90, 150), (64, 40), (3, 130))  # height and width; the last also looks like channels first


@dataclasses.dataclass(frozen=True)
class Made:
    family: str
    folder: str
    config: transformers.PreTrainedConfig

    def build(self, **options):
        return registry.build("align_jax.data.processors", self.family, folder=self.folder, **options)()


@pytest.fixture(scope="module", params=FAMILIES)
def made(request, tmp_path_factory) -> Made:
    """A checkpoint's folder without weights."""
    folder = str(tmp_path_factory.mktemp(request.param))
    vision = {"window_size": 56, "tokens_per_second": 3} if request.param == "qwen2_5_vl" else {}
    config = FAMILIES[request.param](vision_config=vision, image_token_id=300, video_token_id=301)
    config.save_pretrained(folder)
    side = 16 if request.param == "qwen3_vl" else 14
    mean, std = ([0.5] * 3, [0.5] * 3) if side == 16 else ([0.48, 0.45, 0.4], [0.26, 0.27, 0.28])
    settings = dict(patch_size=side, temporal_patch_size=2, merge_size=2, image_mean=mean, image_std=std)
    settings |= dict(min_pixels=56 * 56, max_pixels=200 * 200, image_processor_type="Qwen2VLImageProcessor")
    with open(f"{folder}/preprocessor_config.json", "w") as file:
        json.dump(settings, file)
    return Made(request.param, folder, config)


@pytest.fixture(scope="module")
def processor(made):
    return made.build()


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in SIZES]


def unpacked(media, merge: int = 2) -> np.ndarray:
    """Patches in the order of the placeholders."""
    cells = media.pixels.reshape(-1, merge**2, media.pixels.shape[-1])
    return cells[media.slots].reshape(-1, media.pixels.shape[-1])


def test_pixels_are_those_of_transformers(made, processor, pictures):
    published = transformers.Qwen2VLImageProcessorPil.from_pretrained(made.folder)
    theirs = published(pictures, input_data_format="channels_last", return_tensors="np")
    shown = processor.images(pictures)
    np.testing.assert_array_equal(unpacked(processor.join(shown)), theirs["pixel_values"])
    for each, (time, rows, columns) in zip(shown, theirs["image_grid_thw"].tolist(), strict=True):
        assert each.grid == (time, rows // 2, columns // 2)
        assert each.placeholders == len(each.media.slots) == np.prod(each.grid)
        assert each.text == "<|image_pad|>" * each.placeholders
        np.testing.assert_array_equal(unpacked(each.media), theirs["pixel_values"][: time * rows * columns])
        theirs["pixel_values"] = theirs["pixel_values"][time * rows * columns :]


def test_patches_lie_in_windows_of_one_frame_and_every_feature_has_its_slot(made, processor, pictures):
    video = [pictures[0]] * 3
    shown = [*processor.images(pictures), *processor.videos([video])]
    media = processor.join(shown)
    window = 16 if made.family == "qwen2_5_vl" else 4
    runs = media.segment.reshape(-1, window)
    assert all(len(set(run[run > 0].tolist())) == 1 for run in runs)
    assert (runs == 0).any() == (made.family == "qwen2_5_vl")
    assert set(media.segment.tolist()) - {0} == set(range(1, 6))  # three pictures, two slices of the video
    assert sorted(media.slots.tolist()) == np.flatnonzero(media.segment[::4]).tolist()
    assert not media.pixels[media.segment == 0].any()
    for frame in range(1, 6):
        inside = media.segment == frame
        (size,) = {tuple(size) for size in media.size[inside].tolist()}
        places = media.place[inside].tolist()
        assert sorted(places) == np.argwhere(np.ones(size)).tolist()
    cells = [media.place[media.slots * 4] // 2, media.segment[media.slots * 4]]
    reading = [np.argwhere(np.ones(grid)) for each in shown for grid in [each.grid]]
    np.testing.assert_array_equal(cells[0], np.concatenate([r[:, 1:] for r in reading]))
    assert (np.diff(cells[1]) >= 0).all()


def test_windows_are_squares_of_merged_patches(made, processor, pictures):
    if made.family != "qwen2_5_vl":
        pytest.skip("has no windows")
    media = processor.join(processor.images(pictures))
    for segment, place in zip(media.segment.reshape(-1, 16), media.place.reshape(-1, 16, 2), strict=True):
        assert len({tuple(p) for p in (place[segment > 0] // 4).tolist()}) == 1


@pytest.mark.parametrize("frames", [1, 2, 3, 5])
def test_frames_are_laid_in_time(made, processor, pictures, frames):
    rng = np.random.default_rng(1)
    video = [rng.integers(0, 256, (60, 90, 3), dtype=np.uint8) for _ in range(frames)]
    (shown,) = processor.videos([video])
    side = made.config.vision_config.patch_size
    values = unpacked(shown.media).reshape(shown.grid[0], -1, 3, 2, side, side)
    published = transformers.Qwen2VLImageProcessorPil.from_pretrained(made.folder)
    size = dict(zip(("height", "width"), (2 * side * n for n in shown.grid[1:]), strict=True))
    least = size["height"] * size["width"]
    for i, frame in enumerate([*video, video[-1]][: 2 * shown.grid[0]]):
        still = published(
            [frame], size={"shortest_edge": least, "longest_edge": least}, input_data_format="channels_last"
        )
        theirs = np.asarray(still["pixel_values"]).reshape(-1, 3, 2, side, side)[:, :, 0]
        np.testing.assert_allclose(values[i // 2, :, :, i % 2], theirs, atol=1e-5)


def test_frame_sizes_are_those_of_transformers():
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    rng = np.random.default_rng(0)
    for height, width in rng.integers(20, 3000, (200, 2)).tolist():
        theirs = smart_resize(height, width, 28, 56 * 56, 14 * 14 * 1280)
        assert fit(height, width, 28, 56 * 56, 14 * 14 * 1280) == theirs


def test_videos_of_qwen3_vl_are_bounded_as_a_whole(made):
    if made.family != "qwen3_vl":
        pytest.skip("bounds each frame")
    smart_resize = pytest.importorskip("transformers.models.qwen3_vl.video_processing_qwen3_vl").smart_resize
    processor, rng = made.build(video_min_pixels=4096, video_max_pixels=500_000), np.random.default_rng(0)
    for frames, height, width in rng.integers((2, 10, 10), (40, 900, 900), (200, 3)).tolist():
        if max(height, width) > 100 * min(height, width):
            continue
        theirs = smart_resize(frames, height, width, 2, 32, 4096, 500_000)
        assert processor._frame_size(frames, height, width) == theirs


@pytest.mark.parametrize("frames", [2, 5])
def test_text_of_a_video_is_that_of_transformers(made, pictures, frames):
    options = {} if made.family == "qwen2_vl" else {"fps": 3.0}
    (shown,) = made.build(**options).videos([[pictures[0]] * frames])
    theirs = {
        "qwen2_vl": transformers.Qwen2VLProcessor,
        "qwen2_5_vl": transformers.Qwen2_5_VLProcessor,
        "qwen3_vl": transformers.Qwen3VLProcessor,
    }[made.family]
    stub = SimpleNamespace(
        video_token="<|video_pad|>",
        vision_start_token="<|vision_start|>",
        vision_end_token="<|vision_end|>",
        video_processor=SimpleNamespace(merge_size=2, temporal_patch_size=2),
        _calculate_timestamps=functools.partial(transformers.Qwen3VLProcessor._calculate_timestamps, None),
    )
    grid = np.array([[shown.grid[0], 2 * shown.grid[1], 2 * shown.grid[2]]])
    metadata = SimpleNamespace(fps=3.0, frames_indices=np.arange(frames))
    inputs = {"video_grid_thw": grid, "video_metadata": [metadata]}
    assert shown.text == theirs.replace_video_token(stub, inputs, 0)
    assert ("seconds" in shown.text) == (made.family == "qwen3_vl")
    assert shown.text.count("<|video_pad|>") == shown.placeholders


@pytest.mark.parity
@pytest.mark.parametrize("fps", [2.0, 5.0])
def test_positions_are_those_of_transformers(made, pictures, fps):
    torch = pytest.importorskip("torch")
    processor = made.build(**({} if made.family == "qwen2_vl" else {"fps": fps}))
    video = [np.zeros((60, 90, 3), np.uint8)] * 7
    first, second, _ = processor.images(pictures)
    (third,) = processor.videos([video])
    ids = [[7, 8, 9], [300] * first.placeholders, [5], [300] * second.placeholders, [6, 6]]
    runs = third.grid[0] if made.family == "qwen3_vl" else 1
    ids += [part for _ in range(runs) for part in ([301] * (third.placeholders // runs), [4, 4])]
    ids = np.concatenate([*ids, [1, 2, 3]]).astype(np.int32)
    ours = processor.positions(ids, [first, second, third])

    theirs = {
        "qwen2_vl": transformers.Qwen2VLModel,
        "qwen2_5_vl": transformers.Qwen2_5_VLModel,
        "qwen3_vl": transformers.Qwen3VLModel,
    }[made.family]
    stub = SimpleNamespace(
        config=made.config, get_vision_position_ids=functools.partial(theirs.get_vision_position_ids, None)
    )
    grids = torch.tensor([[t, 2 * h, 2 * w] for t, h, w in (each.grid for each in (first, second, third))])
    expected, _ = theirs.get_rope_index(
        stub,
        torch.from_numpy(ids.astype(np.int64))[None],
        mm_token_type_ids=torch.from_numpy((ids == 300) + 2 * (ids == 301))[None],
        image_grid_thw=grids[:2],
        video_grid_thw=grids[2:],
        second_per_grid_ts=[2 / fps],
    )
    np.testing.assert_array_equal(ours, expected[:, 0].numpy().T)
    assert ours.dtype == np.int32 and ours[:, 1].max() > ours[:, 0].min()


def test_text_alone_counts_tokens_and_takes_no_media(processor):
    np.testing.assert_array_equal(processor.positions(np.arange(5), []), np.repeat(np.arange(5)[:, None], 3, axis=1))
    media, patch = processor.join([]), processor.image_processor.patch_size
    assert media.pixels.shape == (0, 6 * patch**2) and media.slots.shape == (0,) and media.place.shape == (0, 2)
    assert processor.images([]) == processor.videos([]) == processor.sounds([]) == []


def test_bounds_can_be_changed(made, pictures):
    small = made.build(max_pixels=60 * 60, min_pixels=10, video_max_pixels=70 * 70, video_min_pixels=10)
    (usual,), (smaller,) = made.build().images(pictures[:1]), small.images(pictures[:1])
    assert smaller.placeholders < usual.placeholders
    (usual,), (smaller,) = made.build().videos([pictures[:1]]), small.videos([pictures[:1]])
    assert smaller.placeholders < usual.placeholders


def test_a_copy_for_a_worker_sees_the_same(processor, pictures):
    copy = pickle.loads(pickle.dumps(processor))
    np.testing.assert_array_equal(copy.images(pictures)[0].media.pixels, processor.images(pictures)[0].media.pixels)


def test_what_the_model_cannot_take_is_refused(processor):
    with pytest.raises(RecordError, match="200 times"):
        processor.images([np.zeros((1, 201, 3), np.uint8)])
    with pytest.raises(RecordError, match="without frames"):
        processor.videos([[]])
    with pytest.raises(RecordError, match="does not listen"):
        processor.sounds([np.zeros(5, np.float32)])
    with pytest.raises(ValueError, match="1 placeholders in the prompt, and 0 in its media"):
        processor.positions(np.array([1, 300, 2]), [])
