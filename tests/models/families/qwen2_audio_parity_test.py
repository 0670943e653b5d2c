"""Qwen2-Audio: recordings of different lengths, several in a prompt."""

from pathlib import Path

import numpy as np
import pytest

from tests.models.families.parity import LLAMA, Parity, Row, transformers

pytestmark = pytest.mark.parity

RATE = 16000


def chirp(seconds: float, start: float) -> np.ndarray:
    """f32[samples] of a tone that rises."""
    time = np.arange(int(seconds * RATE)) / RATE
    return np.sin(2 * np.pi * (start + 400 * time) * time).astype(np.float32)


class TestQwen2Audio(Parity):
    meshes = True
    specials = {"<|AUDIO|>": 300}
    rows = (
        Row(sounds=[chirp(0.4, 200)]),
        Row(sounds=[chirp(1.0, 500), chirp(0.25, 900)]),
        Row(),
    )
    prompt_length = 80
    gradients = True

    @classmethod
    def model(cls):
        audio = dict(
            model_type="qwen2_audio_encoder",
            d_model=32,
            encoder_layers=2,
            encoder_attention_heads=4,
            encoder_ffn_dim=64,
            num_mel_bins=16,
            max_source_positions=50,
        )
        text = dict(model_type="qwen2", **LLAMA)
        config = transformers.Qwen2AudioConfig(audio_config=audio, text_config=text, audio_token_index=300)
        return transformers.Qwen2AudioForConditionalGeneration(config)

    @classmethod
    def prepare(cls, folder: Path) -> None:
        cls.extractor = transformers.WhisperFeatureExtractor(feature_size=16, chunk_length=1)
        cls.extractor.save_pretrained(folder)

    @classmethod
    def their_media(cls, folder, rows, ids) -> dict:
        sounds = [sound for row in rows for sound in row.sounds]
        made = cls.extractor(
            sounds, sampling_rate=RATE, padding="max_length", return_attention_mask=True, return_tensors="np"
        )
        return {"input_features": made["input_features"], "feature_attention_mask": made["attention_mask"]}
