"""Qwen2-Audio: recordings of up to 30 seconds as log-mel spectrograms. Chu et al. 2024, arXiv:2407.10759."""

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from align_jax import registry
from align_jax.data.processors.base import Shown
from align_jax.data.processors.tiles import check_files
from align_jax.data.records import RecordError
from align_jax.types import Sound

AUDIO = "<|AUDIO|>"  # the chat template writes <|audio_bos|> and <|audio_eos|> around it


@dataclasses.dataclass(frozen=True)
class Qwen2Audio:
    marks: ClassVar = {"audio": AUDIO}
    placeholders: ClassVar = (AUDIO,)

    extractor: Any  # transformers' WhisperFeatureExtractor
    frames: int  # of a spectrogram, padding included
    truncate: bool = False

    @property
    def sample_rate(self) -> int:
        return self.extractor.sampling_rate

    @property
    def features(self) -> int:
        """Of a recording, padding included: the tower halves the frames twice."""
        return self.frames // 4

    def images(self, images: Sequence[np.ndarray]) -> list[Shown]:
        if images:
            raise RecordError("prompt", "has images, and this model listens only")
        return []

    def videos(self, videos: Sequence[Sequence[np.ndarray]]) -> list[Shown]:
        if videos:
            raise RecordError("prompt", "has videos, and this model listens only")
        return []

    def sounds(self, sounds: Sequence[np.ndarray]) -> list[Shown]:
        """Raises RecordError for a recording that is too short, or too long and may not be cut."""
        return [self._sound(sound) for sound in sounds]

    def join(self, shown: Sequence[Shown]) -> Sound:
        mels = self.extractor.feature_size
        nothing = Sound(
            np.zeros((0, self.frames, mels), np.float32), np.zeros((0, self.frames), np.float32), np.zeros(0, np.int32)
        )
        parts = [nothing, *(each.media for each in shown)]
        slots = [np.int32((i - 1) * self.features) + part.slots for i, part in enumerate(parts)]
        return Sound(
            np.concatenate([part.mel for part in parts]),
            np.concatenate([part.mask for part in parts]),
            np.concatenate(slots),
        )

    def positions(self, ids: np.ndarray, shown: Sequence[Shown]) -> None:
        return None

    def _sound(self, sound: np.ndarray) -> Shown:
        seconds, limit = len(sound) / self.sample_rate, self.extractor.n_samples / self.sample_rate
        if seconds > limit and not self.truncate:
            raise RecordError(
                "prompt",
                f"has a recording of {seconds:.1f} s, at most {limit:g} s are heard: cut it, or set `truncate`, which "
                "drops the rest",
            )
        made = self.extractor(
            sound,
            sampling_rate=self.sample_rate,
            padding="max_length",
            return_attention_mask=True,
            return_tensors="np",
        )
        mask = made["attention_mask"].astype(np.float32)
        count = ((int(mask.sum()) - 1) // 2 + 1 - 2) // 2 + 1  # a convolution of stride 2, then a pool of 2
        if count < 1:
            raise RecordError("prompt", f"has a recording of {seconds:.3f} s: that is too short to be heard")
        mel = np.ascontiguousarray(made["input_features"].transpose(0, 2, 1), np.float32)
        return Shown(AUDIO * count, count, Sound(mel, mask, np.arange(count, dtype=np.int32)))


@registry.entry()
def qwen2_audio(*, folder: str, truncate: bool = False) -> Qwen2Audio:
    """Processor of the checkpoint in `folder`.

    Args:
      folder: has config.json and preprocessor_config.json.
      truncate: whether to hear the beginning of recordings that are too long, as transformers does, or to refuse them.

    Raises:
      FileNotFoundError: one of the files is missing.
      ValueError: they are not of one checkpoint.
    """
    import transformers  # takes seconds

    check_files(folder)
    tower = transformers.AutoConfig.from_pretrained(folder).audio_config
    extractor = transformers.WhisperFeatureExtractor.from_pretrained(folder)
    frames = extractor.nb_max_frames
    if (frames, extractor.feature_size) != (2 * tower.max_source_positions, tower.num_mel_bins):
        raise ValueError(
            f"the feature extractor gives {frames} frames of {extractor.feature_size} mels, and the tower takes "
            f"{2 * tower.max_source_positions} of {tower.num_mel_bins}: the files are not of one checkpoint"
        )
    return Qwen2Audio(extractor, frames, truncate)
