"""Qwen2.5-VL: windows in the tower, and positions that follow the clock. https://arxiv.org/abs/2502.13923."""

from align_jax import registry
from align_jax.data.processors.qwen_settings import read_settings
from align_jax.data.processors.qwen_vl import QwenVL


@registry.entry()
def qwen2_5_vl(
    *,
    folder: str,
    min_pixels: int | None = None,
    max_pixels: int | None = None,
    video_min_pixels: int | None = None,
    video_max_pixels: int | None = None,
    fps: float = 2.0,
) -> QwenVL:
    """Processor of the checkpoint in `folder`.

    Args:
      folder: has config.json and preprocessor_config.json.
      min_pixels, max_pixels: of a picture after it was resized; as published if not given.
      video_min_pixels, video_max_pixels: of a frame, likewise.
      fps: frames that a second of the records' videos has.
    """
    images = {"min_pixels": min_pixels, "max_pixels": max_pixels}
    videos = {"min_pixels": video_min_pixels, "max_pixels": video_max_pixels}
    config, settings = read_settings(folder, images, videos)
    vision, processor = config.vision_config, settings["image_processor"]
    window = vision.window_size // vision.spatial_merge_size // vision.patch_size
    interval = vision.tokens_per_second * processor.temporal_patch_size / fps
    return QwenVL(**settings, window=window, interval=interval)
