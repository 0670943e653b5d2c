import io
import struct
import warnings
import zlib

import numpy as np
import pytest
import soundfile
from PIL import Image

from align_jax.data.media import ImageProcessor, MediaError, read_image, read_sound


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


def tiff(values):
    return encoded(Image.fromarray(values), "TIFF")


def test_more_levels_than_256_are_scaled():
    levels = np.array([[0, 256 * 100, 65535]])
    for data in (tiff(levels.astype(np.int32)), tiff(levels.astype(np.uint16))):
        np.testing.assert_array_equal(read_image(data)[..., 0], [[0, 100, 255]])
    np.testing.assert_array_equal(read_image(tiff(np.array([[0, 7, 255]], np.int32)))[..., 1], [[0, 7, 255]])
    np.testing.assert_array_equal(read_image(tiff(np.array([[0, 0.2, 1]], np.float32)))[..., 2], [[0, 51, 255]])
    odd = np.array([[np.nan, 7.4, 300, -3]], np.float32)
    np.testing.assert_array_equal(read_image(tiff(odd))[..., 0], [[0, 7, 255, 0]])


def test_transparency_is_dropped():
    pixels = np.array([[[255, 0, 0, 0], [1, 2, 3, 128]]], np.uint8)
    np.testing.assert_array_equal(read_image(encoded(Image.fromarray(pixels)))[0], [[255, 0, 0], [1, 2, 3]])
    palette = Image.new("P", (2, 1))
    palette.putpalette([9, 8, 7, 50, 60, 70])
    palette.putpixel((1, 0), 1)
    data = encoded(palette, transparency=1)
    np.testing.assert_array_equal(read_image(data)[0], [[9, 8, 7], [50, 60, 70]])


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1)])
def test_slivers_are_read(size):
    image = np.full((*size, 3), 5, np.uint8)
    np.testing.assert_array_equal(read_image(encoded(Image.fromarray(image))), image)


def test_pictures_that_would_fill_the_memory_are_not_decoded():
    data = bytearray(encoded(Image.new("1", (8, 8))))
    start = data.index(b"IHDR")
    for width, height in ((20_000, 20_000), (13_400, 13_400)):  # beyond PIL's limit, and beyond ours alone
        data[start + 4 : start + 12] = struct.pack(">II", width, height)
        data[start + 17 : start + 21] = struct.pack(">I", zlib.crc32(data[start : start + 17]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with pytest.raises(MediaError, match=f"cannot read {len(data)} bytes as an image .*pixels"):
                read_image(bytes(data))


def wave(samples, rate, channels=1, kind="WAV"):
    time = np.arange(samples) / rate
    tone = np.sin(2 * np.pi * 200 * time)[:, None] * np.linspace(1, 0, channels)
    buffer = io.BytesIO()
    soundfile.write(buffer, tone, rate, format=kind, subtype="FLOAT" if kind == "WAV" else None)
    return buffer.getvalue()


def test_recordings_become_mono_at_the_rate_that_is_asked_for(tmp_path):
    data = wave(8000, 16000)
    (tmp_path / "x.wav").write_bytes(data)
    expected = np.sin(2 * np.pi * 200 * np.arange(8000) / 16000)
    for sound in (data, str(tmp_path / "x.wav"), tmp_path / "x.wav"):
        samples = read_sound(sound, 16000)
        np.testing.assert_allclose(samples, expected, atol=1e-6)
        assert samples.dtype == np.float32
    np.testing.assert_allclose(read_sound(wave(8000, 16000, channels=2), 16000), expected / 2, atol=1e-6)
    for rate in (8000, 22050, 44100, 48000):
        samples = read_sound(wave(rate // 2, rate), 16000)
        assert samples.shape == (8000,) and samples.dtype == np.float32
        np.testing.assert_allclose(samples[200:-200], expected[200:-200], atol=2e-3)
    assert read_sound(wave(8000, 16000, kind="FLAC"), 16000).shape == (8000,)


def test_broken_recordings_name_the_file(tmp_path):
    (tmp_path / "notes.txt").write_text("not a recording")
    with pytest.raises(MediaError, match="there is no recording .*lost.wav"):
        read_sound(tmp_path / "lost.wav", 16000)
    with pytest.raises(MediaError, match="cannot read .*notes.txt as a recording"):
        read_sound(str(tmp_path / "notes.txt"), 16000)
    with pytest.raises(MediaError, match="cannot read .* bytes as a recording .it is empty"):
        read_sound(wave(0, 16000), 16000)
    buffer = io.BytesIO()
    soundfile.write(buffer, np.array([0.1, np.nan]), 16000, format="WAV", subtype="FLOAT")
    with pytest.raises(MediaError, match="not finite"):
        read_sound(buffer.getvalue(), 16000)


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
