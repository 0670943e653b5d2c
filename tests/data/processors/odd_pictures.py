"""Pictures that are seldom thought of, as encoded files."""

import io

import numpy as np
from PIL import Image


def _noise(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8).squeeze()


def _encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _rgb(height: int, width: int) -> Image.Image:
    return Image.fromarray(_noise(height, width).reshape(height, width, 3))


def _turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return _encoded(_rgb(40, 90), "JPEG", exif=exif)


_GREY16 = np.random.default_rng(1).integers(0, 65536, (33, 47))
ODD = {
    "1x1": _encoded(_rgb(1, 1)),
    "1x500": _encoded(_rgb(1, 500)),
    "500x1": _encoded(_rgb(500, 1)),
    "2x900": _encoded(_rgb(2, 900)),
    "3x3": _encoded(_rgb(3, 3)),
    "3x130": _encoded(_rgb(3, 130)),
    "28x28": _encoded(_rgb(28, 28)),
    "57x56": _encoded(_rgb(57, 56)),
    "101x37": _encoded(_rgb(101, 37)),
    "300x200": _encoded(_rgb(300, 200)),
    "900x1300": _encoded(_rgb(900, 1300)),
    "jpeg": _encoded(_rgb(63, 95), "JPEG"),
    "black": _encoded(Image.new("RGB", (50, 40))),
    "grey": _encoded(Image.fromarray(_noise(45, 60, 1))),
    "grey_alpha": _encoded(Image.fromarray(_noise(45, 60, 2), "LA")),
    "alpha": _encoded(Image.fromarray(_noise(45, 60, 4), "RGBA")),
    "palette": _encoded(_rgb(50, 44).quantize(16)),
    "palette_transparent": _encoded(_rgb(50, 44).quantize(16), transparency=3),
    "palette_alphas": _encoded(_rgb(50, 44).quantize(16), transparency=bytes(range(16))),
    "cmyk": _encoded(Image.fromarray(_noise(35, 52, 4), "CMYK"), "JPEG"),
    "turned": _turned(),
    "16_bit": _encoded(Image.fromarray(_GREY16.astype(np.uint16))),
    "32_bit": _encoded(Image.fromarray(_GREY16.astype(np.int32)), "TIFF"),
    "float": _encoded(Image.fromarray((_GREY16 / 65535).astype(np.float32)), "TIFF"),
    "1_bit": _encoded(Image.fromarray(_noise(41, 58, 1)).convert("1")),
    "gif": _encoded(_rgb(30, 64).quantize(32), "GIF"),
}
