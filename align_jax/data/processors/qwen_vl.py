"""What the processors of Qwen2-VL, Qwen2.5-VL and Qwen3-VL share."""

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from align_jax.data.processors.base import Shown
from align_jax.data.processors.qwen_patches import cut, fit, lay_out, pack
from align_jax.data.processors.qwen_settings import VideoSettings
from align_jax.data.records import RecordError
from align_jax.types import Patches

IMAGE, VIDEO = "<|image_pad|>", "<|video_pad|>"


@dataclasses.dataclass(frozen=True)
class QwenVL:
    """Pictures and videos of Qwen2-VL (arXiv:2409.12191); fields adapt it to its successors."""

    marks: ClassVar = {"image": IMAGE, "video": VIDEO}
    placeholders: ClassVar = (IMAGE, VIDEO)
    sample_rate: ClassVar = 0

    image_processor: Any  # transformers' Qwen2VLImageProcessorPil
    video: VideoSettings
    token_ids: tuple[int, int]  # of the placeholders
    window: int = 0  # side of the tower's windows, in merged patches; 0: none
    interval: float = 1.0  # temporal position of a video's slice, less that of the one before

    @property
    def temporal(self) -> int:
        """Frames that are one slice in time."""
        return self.image_processor.temporal_patch_size

    @property
    def factor(self) -> int:
        """Pixels along a side of a merged patch."""
        return self.image_processor.patch_size * self.image_processor.merge_size

    def images(self, images: Sequence[np.ndarray]) -> list[Shown]:
        """Raises RecordError for a picture that is 200 times as wide as high, or the other way round."""
        if not images:
            return []
        for image in images:
            _check_shape(image)
        made = self.image_processor(list(images), input_data_format="channels_last", return_tensors="np")
        grids = made["image_grid_thw"]
        pixels = np.split(made["pixel_values"], np.cumsum(grids.prod(1))[:-1])
        return [self._shown(IMAGE, *each) for each in zip(pixels, grids.tolist(), strict=True)]

    def videos(self, videos: Sequence[Sequence[np.ndarray]]) -> list[Shown]:
        """Frames fill slices in time; the last one is repeated to fill the last. Raises RecordError like `images`."""
        return [self._shown(VIDEO, *self._cut_video(frames)) for frames in videos]

    def sounds(self, sounds: Sequence[np.ndarray]) -> list[Shown]:
        if sounds:
            raise RecordError("prompt", "has recordings, and this model does not listen")
        return []

    def join(self, shown: Sequence[Shown]) -> Patches:
        processor = self.image_processor
        values = 3 * self.temporal * processor.patch_size**2
        return pack([each.media for each in shown], values, processor.merge_size)

    def positions(self, ids: np.ndarray, shown: Sequence[Shown]) -> np.ndarray:
        """i32[p, 3] as `get_rope_index` of transformers 5 gives them: text counts on all three axes at once.

        What follows a picture or video goes on behind its larger side, however long it lasts; the paper's authors went
        on behind the largest position of it, which differs for videos of more slices than rows and columns.

        Raises:
          ValueError: the placeholders are not those of `shown`.
        """
        where = np.flatnonzero(np.isin(ids, self.token_ids))
        if len(where) != (expected := sum(each.placeholders for each in shown)):
            raise ValueError(f"{len(where)} placeholders in the prompt, and {expected} in its media")
        positions, used, begun, count = [np.zeros((0, 3), np.int32)], 0, 0, 0

        def text(end: int) -> None:
            nonlocal begun, count
            positions.append(np.repeat(np.arange(count, count + end - begun)[:, None], 3, axis=1))
            begun, count = end, count + end - begun

        for time, rows, columns in (grid for each in shown for grid in self._grids(each)):
            text(where[used])
            place = np.indices((time, rows, columns)).reshape(3, -1).T
            place[:, 0] = place[:, 0].astype(np.float32) * np.float32(self.interval)
            positions.append(count + place)
            used, begun, count = used + len(place), begun + len(place), count + max(rows, columns)
        text(len(ids))
        return np.concatenate(positions).astype(np.int32)

    def _shown(self, token: str, pixels: np.ndarray, grid: Sequence[int]) -> Shown:
        merge = self.image_processor.merge_size
        time, rows, columns = grid[0], grid[1] // merge, grid[2] // merge
        count = time * rows * columns
        return Shown(token * count, count, lay_out(pixels, tuple(grid), merge, self.window), (time, rows, columns))

    def _grids(self, shown: Shown) -> list[tuple[int, int, int]]:
        """Of each run of placeholders."""
        return [shown.grid]

    def _frame_size(self, frames: int, height: int, width: int) -> tuple[int, int]:
        return fit(height, width, self.factor, self.video.least, self.video.most)

    def _cut_video(self, frames: Sequence[np.ndarray]) -> tuple[np.ndarray, tuple[int, int, int]]:
        if not len(frames):
            raise RecordError("prompt", "has a video without frames: leave the record out")
        _check_shape(frames[0])
        height, width = self._frame_size(len(frames), *frames[0].shape[:2])
        frames = [*frames, *[frames[-1]] * (-len(frames) % self.temporal)]
        resized = [Image.fromarray(f).resize((width, height), Image.Resampling.BICUBIC) for f in frames]
        pixels = (np.stack(resized).astype(np.float32) / 255.0 - np.float32(self.video.mean)) / np.float32(
            self.video.std
        )
        return cut(pixels, self.image_processor.patch_size, self.image_processor.merge_size, self.temporal)


def _check_shape(frame: np.ndarray) -> None:
    height, width = frame.shape[:2]
    if max(height, width) > 200 * min(height, width):
        raise RecordError("prompt", f"has a picture of {width} x {height} pixels: no side may be 200 times the other")
