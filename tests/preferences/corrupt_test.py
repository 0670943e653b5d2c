import math

import numpy as np
import pytest

from align_jax import registry
from align_jax.preferences import corrupt

IMAGE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
# Each pixel tells where it is: red is its column times 3, green its row times 3.
PLACES = np.stack(np.broadcast_arrays(3 * np.arange(80), 3 * np.arange(60)[:, None], 0), -1).astype(np.uint8)


def build(name, **hyper):
    return registry.build("align_jax.preferences", f"corrupt:{name}", **hyper)


@pytest.mark.parametrize("name", ["random_crop", "blank", "blur", "mask", "diffusion"])
def test_a_corruption_keeps_shape_and_type_and_its_input_and_follows_the_generator(name):
    original = IMAGE.copy()
    once, again = (build(name)(IMAGE, np.random.default_rng(1)) for _ in range(2))
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
