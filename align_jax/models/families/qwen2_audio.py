"""Qwen2-Audio: Whisper's encoder, one layer, Qwen2. Chu et al. 2024, https://arxiv.org/abs/2407.10759."""

from collections.abc import Mapping
from typing import Any

from align_jax import registry
from align_jax.models import projector, whisper
from align_jax.models.families import llava, projectors, sound, text
from align_jax.models.families.base import Family
from align_jax.models.mllm import MLLMConfig

MODULES = (("audio_tower.", "model.audio_tower."), *llava.MODULES)


@registry.entry()
def qwen2_audio(*, hf: Mapping[str, Any]) -> Family:
    """Recordings of up to half a minute."""
    decoder, tower, layer = llava.decoder_of(hf), sound.qwen2_audio(hf["audio_config"]), projectors.qwen2_audio(hf)
    weights = [
        *text.weights(decoder, "language_model.model.", "language_model.lm_head"),
        *whisper.weights(tower, "audio_tower."),
        *projector.weights(layer, "multi_modal_projector.", projector.QWEN2_AUDIO),
    ]
    sizes = MLLMConfig(decoder, tower, layer, placeholders=(hf["audio_token_index"],))
    return Family(sizes, tuple(weights), (), MODULES)
