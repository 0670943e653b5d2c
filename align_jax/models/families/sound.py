"""The encoder of Qwen2-Audio: from `audio_config` to sizes."""

from collections.abc import Mapping
from typing import Any

from align_jax.models.families.base import activation
from align_jax.models.families.vision import ACTIVATIONS
from align_jax.models.whisper import SoundConfig


def qwen2_audio(audio: Mapping[str, Any]) -> SoundConfig:
    """`scale_embedding` is ignored, as transformers does.

    Raises:
      ValueError: a setting that we cannot run.
    """
    return SoundConfig(
        mels=audio["num_mel_bins"],
        positions=audio["max_source_positions"],
        dim=audio["d_model"],
        layers=audio["encoder_layers"],
        heads=audio["encoder_attention_heads"],
        mlp_dim=audio["encoder_ffn_dim"],
        activation=activation(audio, "activation_function", ACTIVATIONS),
    )
