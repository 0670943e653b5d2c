"""SmolVLM: Idefics3 made small, with videos. Marafioti et al. 2025, https://arxiv.org/abs/2504.05299."""

import dataclasses
import datetime
import json
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from align_jax import registry
from align_jax.data.processors.base import Shown
from align_jax.data.processors.idefics3 import Idefics3, idefics3_settings
from align_jax.data.processors.tiles import IMAGE, VIDEO, check_frames, pil

UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
TENS = "- - twenty thirty forty fifty sixty seventy eighty ninety".split()


@dataclasses.dataclass(frozen=True)
class SmolVLM(Idefics3):
    marks: ClassVar = {"image": IMAGE, "video": VIDEO}

    fps: float = 1.0
    video_edge: int = 0  # pixels of a frame's longer side before it becomes a tile; 0: as for pictures

    def videos(self, videos: Sequence[Sequence[np.ndarray]]) -> list[Shown]:
        """Every frame is one tile, behind its time; resized with PIL, where the published one takes torchvision."""
        return [self._video(frames) for frames in videos]

    def _video(self, frames: Sequence[np.ndarray]) -> Shown:
        check_frames(frames)
        edge = {"size": {"longest_edge": self.video_edge}} if self.video_edge else {}
        made = self.image_processor(pil(frames), do_image_splitting=False, return_tensors="np", **edge)
        lasts = datetime.timedelta(seconds=int(len(frames) / self.fps))
        series = f"the following series of {in_words(len(frames))} frames from a {lasts} [H:MM:SS] video.\n"
        text = [f"You are provided {series}"]
        for t in range(len(frames)):
            minutes, seconds = divmod(int(t / self.fps), 60)
            text.append(f"\nFrame from {minutes:02d}:{seconds:02d}:{self._text()}")
        return self.shown("".join(text) + "\n\n", made["pixel_values"].reshape(-1, 3, self.size, self.size))


def in_words(number: int) -> str:
    """Of a number below 1000, in English, as the model was trained to read it."""
    if number < 20:
        return UNITS[number]
    if number < 100:
        return TENS[number // 10] + (f"-{UNITS[number % 10]}" if number % 10 else "")
    rest = number % 100
    return f"{UNITS[number // 100]} hundred" + (f" and {in_words(rest)}" if rest else "")


@registry.entry()
def smolvlm(*, folder: str, longest_edge: int | None = None, split: bool | None = None, fps: float = 1.0) -> SmolVLM:
    """Processor of the checkpoint in `folder`.

    Args:
      folder: has config.json and preprocessor_config.json.
      longest_edge, split: as for Idefics3.
      fps: frames that a second of the records' videos has.
    """
    return SmolVLM(**idefics3_settings(folder, longest_edge, split), fps=fps, video_edge=_video_edge(Path(folder)))


def _video_edge(folder: Path) -> int:
    for name in ("video_preprocessor_config.json", "preprocessor_config.json", "processor_config.json"):
        if (folder / name).exists():
            settings = json.loads((folder / name).read_text(encoding="utf-8"))
            settings = settings.get("video_processor", settings)
            if sampling := settings.get("video_sampling"):
                return sampling["video_size"]["longest_edge"]
            if name.startswith("video") or "video_processor_type" in settings:
                return (settings.get("size") or {}).get("longest_edge", 0)
    return 0
