import io

import numpy as np
import pytest
from PIL import Image

from align_jax.data.media import ImageProcessor, MediaError, read_image


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)


def test_bytes_and_paths_give_the_same_pixels(picture, tmp_path):
    data = encoded(Image.fromarray(picture))
    (tmp_path / "x.png").write_bytes(data)
    for image in (data, str(tmp_path / "x.png"), tmp_path / "x.png"):
        np.testing.assert_array_equal(read_image(image), picture)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1", "LA"])
def test_every_mode_becomes_rgb(picture, mode):
    image = read_image(encoded(Image.fromarray(picture).convert(mode), "TIFF"))
    assert image.shape == picture.shape and image.dtype == np.uint8


def test_sixteen_bits_are_scaled_not_clipped():
    grey = np.array([[0, 256 * 100, 256 * 200]], np.uint16)
    np.testing.assert_array_equal(read_image(encoded(Image.fromarray(grey)))[..., 0], [[0, 100, 200]])


def test_images_are_turned_upright(picture):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise
    np.testing.assert_array_equal(read_image(encoded(Image.fromarray(picture), exif=exif)), np.rot90(picture, -1))


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_truncated_image_names_its_size(picture, kind):
    data = encoded(Image.fromarray(picture), kind)[:-300]
    with pytest.raises(MediaError, match=f"{len(data)} bytes"):
        read_image(data)


def test_missing_image_and_other_files_name_the_path(tmp_path):
    (tmp_path / "notes.txt").write_text("not an image")
    with pytest.raises(MediaError, match="there is no image .*lost.png"):
        read_image(tmp_path / "lost.png")
    with pytest.raises(MediaError, match="cannot read .*notes.txt as an image"):
        read_image(tmp_path / "notes.txt")
    with pytest.raises(MediaError, match="cannot read"):
        read_image(str(tmp_path))


def test_processor_normalises():
    processor = ImageProcessor(4, mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 2.0))
    image = np.full((9, 7, 3), 255, np.uint8)
    pixels = processor(image)
    assert pixels.shape == (1, 4, 4, 3) == (processor.tiles, *processor.shape) and pixels.dtype == np.float32
    np.testing.assert_allclose(pixels, np.broadcast_to([1.0, 3.0, 0.5], pixels.shape), rtol=1e-6)


def test_tiles_are_cut_row_by_row():
    values = np.array([[0, 51], [102, 153]], np.uint8)
    image = np.repeat(np.kron(values, np.ones((4, 4), np.uint8))[..., None], 3, -1)
    pixels = ImageProcessor(4, grid=2, mean=(0.0,) * 3, std=(1.0,) * 3)(image)
    assert pixels.shape == (4, 4, 4, 3)
    np.testing.assert_allclose(pixels, np.broadcast_to(values.reshape(4, 1, 1, 1) / 255.0, pixels.shape), rtol=1e-6)
