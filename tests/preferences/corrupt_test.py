import colorsys
import glob
import math

import numpy as np
import pytest
from PIL import Image

from align_jax import registry
from align_jax.data.media import MediaError
from align_jax.preferences import corrupt

IMAGE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
# Each pixel tells where it is: red is its column times 3, green its row times 3.
PLACES = np.stack(np.broadcast_arrays(3 * np.arange(80), 3 * np.arange(60)[:, None], 0), -1).astype(np.uint8)


def build(name, **hyper):
    return registry.build("align_jax.preferences", f"corrupt:{name}", **hyper)


ALL = [name for name in corrupt.__all__ if hasattr(getattr(corrupt, name), "facts")]


@pytest.fixture
def pool(tmp_path):
    """Twelve pictures in two folders, each of one colour: 0, 20, ... 220."""
    for i in range(12):
        folder = tmp_path / "ab"[i % 2]
        folder.mkdir(exist_ok=True)
        Image.fromarray(np.full((5, 9, 3), 20 * i, np.uint8)).save(folder / f"{i}.png")
    return str(tmp_path / "**" / "*.png")


def test_there_are_as_many_as_methods_need():
    assert set(ALL) == {"random_crop", "blank", "blur", "mask", "diffusion", "gaussian", "jitter", "lesion"} | {
        "pixelate",
        "resize",
        "swap",
    }


@pytest.mark.parametrize("name", ALL)
def test_a_corruption_keeps_shape_and_type_and_its_input_and_follows_the_generator(name, pool):
    original, hyper = IMAGE.copy(), dict(pool=pool) if name == "swap" else {}
    once, again = (build(name, **hyper)(IMAGE, np.random.default_rng(1)) for _ in range(2))
    assert once.shape == IMAGE.shape and once.dtype == np.uint8 and once.flags.writeable
    assert (once != IMAGE).any()
    np.testing.assert_array_equal(once, again)
    np.testing.assert_array_equal(IMAGE, original)


def test_a_crop_shows_a_part_of_the_asked_area_and_shape():
    rng = np.random.default_rng(0)
    for _ in range(50):
        seen = corrupt.random_crop(PLACES, rng, scale=(0.05, 0.2)).astype(float)
        width = (seen[..., 0].max() - seen[..., 0].min()) / 3 + 1  # of the part, in pixels of the image
        height = (seen[..., 1].max() - seen[..., 1].min()) / 3 + 1
        # Width and height were rounded to pixels, and bilinear enlargement does not show more than the outermost ones.
        assert (width - 1) * (height - 1) < 0.2 * 4800 and (width + 1) * (height + 1) > 0.05 * 4800
        assert (width - 1) / (height + 1) < 4 / 3 and (width + 1) / (height - 1) > 3 / 4


def test_crops_move_over_the_image():
    rng = np.random.default_rng(0)
    centres = np.array([corrupt.random_crop(PLACES, rng).mean((0, 1))[:2] / 3 for _ in range(100)])
    assert (centres.min(0) < 15).all() and centres[:, 0].max() > 65 and centres[:, 1].max() > 45


def test_a_part_that_never_fits_becomes_the_largest_centred_one():
    tall = corrupt.random_crop(PLACES, np.random.default_rng(0), scale=(2.0, 2.0), ratio=(0.5, 0.5))
    # Of 60 rows and 80 columns, the largest part half as wide as high is 30 wide and 60 high: columns 25 to 54.
    assert tall[..., 0].min() == 75 and tall[..., 0].max() == 162 and tall[..., 1].max() == 177


def test_blank_is_one_gray_level():
    assert (build("blank")(IMAGE, None) == 0).all()
    assert (build("blank", value=127)(IMAGE, None) == 127).all()


def test_blur_spreads_a_point_and_keeps_what_is_flat():
    point = np.zeros((41, 41, 3), np.uint8)
    point[20, 20] = 255
    spread = build("blur", radius=1.0)(point, None)
    # A Gaussian of standard deviation 1 has 1 / (2 pi) = .159 of its mass at the centre: 255 * .159 = 41.
    assert int(spread[20, 20, 0]) == pytest.approx(41, abs=6)
    assert (build("blur")(np.full_like(IMAGE, 9), None) == 9).all()


def test_a_mask_keeps_as_many_cells_as_asked():
    image = np.full((7, 9, 3), 200, np.uint8)  # sides that three does not divide evenly
    for keep in (0, 4, 9):
        seen = build("mask", grid=3, keep=keep, value=5)(image, np.random.default_rng(2))[..., 0]
        cells = [c for row in np.split(seen, [3, 5]) for c in np.split(row, [3, 6], axis=1)]
        assert all(len(np.unique(c)) == 1 for c in cells)
        assert sum(c[0, 0] == 200 for c in cells) == keep
        assert set(np.unique(seen)) <= {5, 200}
    with pytest.raises(ValueError, match="between 0 and 9"):
        build("mask", grid=3, keep=10)(image, np.random.default_rng(0))


def test_a_share_of_the_cells_is_blanked():
    image = np.full((48, 48, 3), 200, np.uint8)
    seen = build("mask", grid=24, share=0.3)(image, np.random.default_rng(0))[..., 0]
    assert (seen == 0).sum() == 4 * 173  # .3 of 576 cells of 2 x 2 pixels is 172.8
    assert (build("mask", grid=3, share=1.0)(image, np.random.default_rng(0)) == 0).all()
    for share in (-0.1, 1.1):
        with pytest.raises(ValueError, match="between 0 and 1"):
            build("mask", share=share)(image, np.random.default_rng(0))


def test_each_cell_is_kept_at_times():
    rng, image = np.random.default_rng(0), np.full((4, 4, 3), 200, np.uint8)
    kept = sum((corrupt.mask(image, rng)[..., 0] == 200).astype(int) for _ in range(400))
    # 100 of 400 expected for each of four cells; 5 standard deviations are 43.
    assert np.abs(kept - 100).max() < 44


@pytest.mark.parametrize(
    "step, signal, noise",
    [(500, 0.86302, 0.50517), (600, 0.73425, 0.67888), (800, 0.46701, 0.88425), (900, 0.36489, 0.93105),
     (999, 0.28504, 0.95851)],
)  # fmt: skip
def test_the_diffusion_schedule_has_the_published_constants(step, signal, noise):
    schedule = corrupt.diffusion_schedule()
    assert [share[step] for share in schedule] == pytest.approx([signal, noise], abs=6e-6)


def test_diffusion_noise_is_signal_plus_noise():
    gray = np.full((100, 100, 3), 128, np.uint8)
    # At step 100 little enough is left of the range that nothing is clipped: five standard deviations fit.
    signal, noise = (share[100] for share in corrupt.diffusion_schedule())
    assert 5 * noise < 0.5
    seen = build("diffusion", step=100)(gray, np.random.default_rng(0)) / 255
    assert seen.mean() == pytest.approx(signal * 128 / 255, abs=0.003)
    assert seen.std() == pytest.approx(noise, rel=0.03)


def test_noise_on_normalised_pixels_is_weaker_and_pulls_to_the_mean():
    gray = np.full((100, 100, 3), 128, np.uint8)
    half = dict(mean=(0.0, 0.0, 0.0), std=(0.25, 0.25, 0.25), space="normalized", step=100)
    noise = corrupt.diffusion_schedule()[1][100]
    assert (build("diffusion", **half)(gray, np.random.default_rng(0)) / 255).std() == pytest.approx(
        noise / 4, rel=0.03
    )
    at_mean = np.full((100, 100, 3), 51, np.uint8)  # 51 / 255 = .2
    pulled = build("diffusion", space="normalized", step=999, mean=(0.2,) * 3, std=(0.04,) * 3)
    assert pulled(at_mean, np.random.default_rng(0)).mean() / 255 == pytest.approx(0.2, abs=0.003)


def test_values_beyond_the_range_are_clamped_or_wrapped():
    white = np.full((50, 50, 3), 255, np.uint8)
    clamped = build("diffusion", step=0)(white, np.random.default_rng(0))
    wrapped = build("diffusion", step=0, clip="wrap")(white, np.random.default_rng(0))
    # A byte wraps to 0 from 256 on: where the noise is above (256 / 255 - signal) / noise = .83 standard deviations.
    signal, noise = (share[0] for share in corrupt.diffusion_schedule())
    beyond = 0.5 * math.erfc((256 / 255 - signal) / noise / math.sqrt(2))
    assert (wrapped < 20).mean() == pytest.approx(beyond, abs=0.025)  # 5 standard deviations of binomial(7500, .2)
    assert clamped.min() > 240


def test_unknown_choices_are_refused():
    with pytest.raises(ValueError, match="clamp or wrap"):
        build("diffusion", clip="none")(IMAGE, np.random.default_rng(0))
    with pytest.raises(ValueError, match="999"):
        build("diffusion", step=1000)(IMAGE, np.random.default_rng(0))


def test_resizing_leaves_as_many_details_as_the_tiny_image_has():
    stripes = np.zeros((80, 120, 3), np.uint8)
    stripes[:, ::2] = 255  # of one pixel: at a short side of 20, each tiny pixel sees two of either, or more
    assert np.abs(build("resize")(stripes, None).astype(int) - 127).max() < 16
    halves = np.zeros((80, 120, 3), np.uint8)
    halves[:, 60:] = 255
    seen = build("resize")(halves, None)[40, :, 0].astype(int)
    assert seen[:54].max() == 0 and seen[66:].min() == 255  # blurred over little more than a tiny pixel of four
    assert (np.diff(seen) >= 0).all() and len(np.unique(seen)) > 4  # a slope, no stairs
    assert build("resize", short_side=1)(IMAGE, None).reshape(-1, 3).std(0).max() < IMAGE.std()
    np.testing.assert_array_equal(build("resize", short_side=48)(IMAGE, None), IMAGE)
    with pytest.raises(ValueError, match="below 1"):
        build("resize", short_side=0)(IMAGE, None)


def test_pixelating_gives_blocks_of_their_mean():
    seen = build("pixelate", block=16)(IMAGE, None)
    blocks = IMAGE.reshape(3, 16, 4, 16, 3).mean((1, 3))
    np.testing.assert_allclose(seen[::16, ::16], blocks, atol=1.0)  # rows are rounded, then columns
    np.testing.assert_array_equal(seen, np.repeat(np.repeat(seen[::16, ::16], 16, 0), 16, 1))
    assert len(np.unique(build("pixelate", block=99)(IMAGE, None).reshape(-1, 3), axis=0)) == 1
    with pytest.raises(ValueError, match="below 1"):
        build("pixelate", block=0)(IMAGE, None)


def test_brightness_is_a_uniform_factor():
    gray, rng = np.full((2, 2, 3), 100, np.uint8), np.random.default_rng(0)
    levels = np.array([build("jitter", brightness=0.5, hue=0.0)(gray, rng)[0, 0, 0] for _ in range(300)])
    assert 50 <= levels.min() < 55 and 145 < levels.max() <= 150
    assert levels.mean() == pytest.approx(100, abs=9)  # 5 standard deviations of 29 / sqrt(300)
    assert (build("jitter", brightness=0.0, hue=0.5)(gray, rng) == 100).all()  # gray has no hue


def test_hue_turns_both_ways_and_leaves_brightness_alone():
    red, rng, turns = np.zeros((1, 1, 3), np.uint8), np.random.default_rng(0), []
    red[..., 0] = 200
    for _ in range(200):
        seen = build("jitter", brightness=0.0, hue=0.3)(red, rng)[0, 0] / 255
        hue, saturation, value = colorsys.rgb_to_hsv(*seen)
        assert value == pytest.approx(200 / 255) and saturation > 0.98
        turns.append((hue + 0.5) % 1 - 0.5)
    assert -0.305 < min(turns) < -0.27 and 0.27 < max(turns) < 0.305


@pytest.mark.parametrize("hyper", [dict(brightness=-0.1), dict(hue=0.6), dict(hue=-0.1)])
def test_jitter_beyond_its_range_is_refused(hyper):
    with pytest.raises(ValueError, match="must be at least 0"):
        build("jitter", **hyper)(IMAGE, np.random.default_rng(0))


def test_gaussian_noise_has_its_sigma_in_pixel_values_and_does_not_fade_the_image():
    gray = np.full((100, 100, 3), 128, np.uint8)
    seen = build("gaussian", sigma=20.0)(gray, np.random.default_rng(0)).astype(float)
    assert seen.mean() == pytest.approx(128, abs=0.6) and seen.std() == pytest.approx(20, rel=0.03)
    np.testing.assert_array_equal(build("gaussian", sigma=0.0)(IMAGE, np.random.default_rng(0)), IMAGE)


def test_gaussian_noise_is_clamped_or_wrapped():
    # Of sigma 225 around 128, 28 % lie below 0 and 28 % above 255: they pile up there, or spread over all levels.
    gray = np.full((100, 100, 3), 128, np.uint8)
    clamped = build("gaussian", sigma=225.0)(gray, np.random.default_rng(0))
    wrapped = build("gaussian", sigma=225.0, clip="wrap")(gray, np.random.default_rng(0))
    tail = 0.5 * math.erfc(128 / 225 / math.sqrt(2))
    assert (clamped == 0).mean() == pytest.approx(tail, abs=0.02)
    assert (wrapped == 0).mean() < 0.02 and np.bincount(wrapped.ravel(), minlength=256).min() > 50
    for hyper in (dict(clip="none"), dict(sigma=-1.0)):
        with pytest.raises(ValueError, match="clamp or wrap, and at least 0"):
            build("gaussian", **hyper)(gray, np.random.default_rng(0))


def test_noise_of_a_lesion_stays_in_its_box():
    box = (0.25, 0.5, 0.75, 1.0)  # of 64 columns and 48 rows: columns 16 to 47, rows 24 to 47
    changed = (build("lesion", box=box)(IMAGE, np.random.default_rng(0)) != IMAGE).any(-1)
    assert not changed[:24].any() and not changed[:, :16].any() and not changed[:, 48:].any()
    assert changed[24:, 16:48].mean() > 0.98
    inside = build("diffusion", step=500)(IMAGE[24:, 16:48], np.random.default_rng(0))
    seen = build("lesion", box=box, step=500)(IMAGE, np.random.default_rng(0))
    np.testing.assert_array_equal(seen[24:, 16:48], inside)


def test_a_lesion_without_a_box_is_somewhere_of_the_asked_size():
    rng, corners = np.random.default_rng(0), []
    for _ in range(50):
        changed = (build("lesion", scale=(0.1, 0.1), step=900)(IMAGE, rng) != IMAGE).any(-1)
        rows, columns = (np.flatnonzero(changed.any(axis)) for axis in (1, 0))
        assert (np.ptp(rows) + 1) * (np.ptp(columns) + 1) == pytest.approx(0.1 * 48 * 64, rel=0.12)
        corners.append((rows[0], columns[0]))
    assert np.min(corners, 0).max() < 6 and (np.ptp(corners, 0) > 20).all()


@pytest.mark.parametrize(
    "box", [(0.5, 0, 0.5, 1), (0.6, 0, 0.5, 1), (0, 0.5, 1, 0.4), (-0.1, 0, 1, 1), (0, 0, 1, 1.1)]
)
def test_a_box_that_is_empty_or_too_large_is_refused(box):
    with pytest.raises(ValueError, match="left < right"):
        build("lesion", box=box)(IMAGE, np.random.default_rng(0))


def test_a_swap_draws_from_all_of_the_pool_and_keeps_the_size_on_request(pool):
    rng = np.random.default_rng(0)
    fitted = [build("swap", pool=pool)(IMAGE, rng) for _ in range(200)]
    assert {image.shape for image in fitted} == {IMAGE.shape}
    assert {int(image[0, 0, 0]) for image in fitted} == set(range(0, 240, 20))
    files = sorted(glob.glob(pool, recursive=True))[:1]
    assert build("swap", pool=files, fit=False)(IMAGE, rng).shape == (5, 9, 3)


def test_a_swap_passes_over_the_image_itself(pool):
    forty = np.full((8, 8, 3), 40, np.uint8)
    rng = np.random.default_rng(0)
    assert all((build("swap", pool=pool)(forty, rng) != 40).all() for _ in range(50))
    alone = [f for f in glob.glob(pool, recursive=True) if f.endswith("/2.png")]
    for pool in (alone, [], "/nowhere/*.png"):
        with pytest.raises(ValueError, match="none of its"):
            build("swap", pool=pool)(forty, rng)
    with pytest.raises(MediaError, match="gone.png"):
        build("swap", pool=["gone.png"])(forty, rng)
