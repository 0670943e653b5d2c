"""Qwen3-VL: videos with the time of every slice written out. https://arxiv.org/abs/2511.21631."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from align_jax import registry
from align_jax.data.processors.base import Shown
from align_jax.data.processors.qwen_patches import fit
from align_jax.data.processors.qwen_settings import read_settings
from align_jax.data.processors.qwen_vl import VIDEO, QwenVL


@dataclasses.dataclass(frozen=True)
class Qwen3VL(QwenVL):
    """To the decoder, slices of a video are pictures of their own, each behind its time."""

    fps: float = 2.0

    def videos(self, videos: Sequence[Sequence[np.ndarray]]) -> list[Shown]:
        shown = super().videos(videos)
        return [
            dataclasses.replace(each, text=self._timed(len(frames), each.grid))
            for frames, each in zip(videos, shown, strict=True)
        ]

    def _timed(self, frames: int, grid: tuple[int, int, int]) -> str:
        # The chat template puts <|vision_start|> and <|vision_end|> around all of it, which transformers 5 keeps.
        slices, features = grid[0], grid[1] * grid[2]
        first = [i * self.temporal for i in range(slices)]
        last = [min(i + self.temporal, frames) - 1 for i in first]
        times = [(a / self.fps + b / self.fps) / 2 for a, b in zip(first, last, strict=True)]
        return "".join(f"<{time:.1f} seconds><|vision_start|>{VIDEO * features}<|vision_end|>" for time in times)

    def _grids(self, shown: Shown) -> list[tuple[int, int, int]]:
        return [(1, *shown.grid[1:])] * shown.grid[0]

    def _frame_size(self, frames: int, height: int, width: int) -> tuple[int, int]:
        # Pixels are bounded in the whole video, not in each frame.
        if (grow := max(self.factor / height, self.factor / width)) > 1:
            height, width = int(height * grow), int(width * grow)
        frames = max(frames, self.temporal)
        counted = round(frames / self.temporal) * self.temporal
        return fit(height, width, self.factor, self.video.least, self.video.most, frames, counted)


@registry.entry()
def qwen3_vl(
    *,
    folder: str,
    min_pixels: int | None = None,
    max_pixels: int | None = None,
    video_min_pixels: int | None = None,
    video_max_pixels: int | None = None,
    fps: float = 2.0,
) -> Qwen3VL:
    """Processor of the checkpoint in `folder`.

    Args:
      folder: has config.json and preprocessor_config.json, and video_preprocessor_config.json if videos differ.
      min_pixels, max_pixels: of a picture after it was resized; as published if not given.
      video_min_pixels, video_max_pixels: of all frames of a video together, likewise.
      fps: frames that a second of the records' videos has.
    """
    images = {"min_pixels": min_pixels, "max_pixels": max_pixels}
    videos = {"min_pixels": video_min_pixels, "max_pixels": video_max_pixels}
    return Qwen3VL(**read_settings(folder, images, videos)[1], fps=fps)
