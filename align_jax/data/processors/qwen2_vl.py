"""Qwen2-VL: pictures and videos of any size as patches. Wang et al. 2024, https://arxiv.org/abs/2409.12191."""

from align_jax import registry
from align_jax.data.processors.qwen_settings import read_settings
from align_jax.data.processors.qwen_vl import QwenVL


@registry.entry()
def qwen2_vl(
    *,
    folder: str,
    min_pixels: int | None = None,
    max_pixels: int | None = None,
    video_min_pixels: int | None = None,
    video_max_pixels: int | None = None,
) -> QwenVL:
    """Processor of the checkpoint in `folder`.

    Args:
      folder: has config.json and preprocessor_config.json.
      min_pixels, max_pixels: of a picture after it was resized; as published if not given.
      video_min_pixels, video_max_pixels: of a frame, likewise.
    """
    images = {"min_pixels": min_pixels, "max_pixels": max_pixels}
    videos = {"min_pixels": video_min_pixels, "max_pixels": video_max_pixels}
    return QwenVL(**read_settings(folder, images, videos)[1])
