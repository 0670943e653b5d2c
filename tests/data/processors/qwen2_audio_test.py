"""Recordings for Qwen2-Audio, against what transformers makes of them."""

import numpy as np
import pytest

from align_jax.data.published import open_inputs
from align_jax.data.records import RecordError
from tests import published

transformers = pytest.importorskip("transformers")

RATE = 16000


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("qwen2_audio")
    published.make_inputs(folder, "qwen2_audio")
    return folder, open_inputs(folder, "qwen2_audio")


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(samples).astype(np.float32)


def say(folder, sounds):
    theirs = transformers.Qwen2AudioProcessor(
        transformers.WhisperFeatureExtractor.from_pretrained(folder),
        transformers.AutoTokenizer.from_pretrained(folder),
        chat_template=published.TEMPLATES["qwen2_audio"],
    )
    content = [*[{"type": "audio"} for _ in sounds], {"type": "text", "text": "What is it?"}]
    written = theirs.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    return theirs(text=[written], audio=sounds, sampling_rate=RATE, return_tensors="np")


@pytest.mark.parametrize("samples", [[RATE], [1200], [1201, 9999], [400 * 7, 5000, 16000]])
def test_recordings_give_the_tokens_and_mels_of_transformers(made, samples):
    folder, inputs = made
    sounds = [noise(count, i) for i, count in enumerate(samples)]
    ours, theirs = inputs.prompt("What is it?", sounds=sounds), say(folder, sounds)
    np.testing.assert_array_equal(ours.ids, theirs["input_ids"][0])
    np.testing.assert_allclose(ours.media.mel, theirs["input_features"].transpose(0, 2, 1), atol=1e-6)
    np.testing.assert_array_equal(ours.media.mask, theirs["feature_attention_mask"])
    assert (
        ours.media.mel.shape == (len(samples), 40, 16) and ours.media.mel.dtype == ours.media.mask.dtype == "float32"
    )


def test_every_recording_has_its_own_slots(made):
    processor = made[1].processor
    shown = processor.sounds([noise(9000), noise(RATE), noise(3000)])
    joined = processor.join(shown)
    expected = [np.arange(each.placeholders) + 10 * i for i, each in enumerate(shown)]
    np.testing.assert_array_equal(joined.slots, np.concatenate(expected))
    assert processor.features == 10 == shown[1].placeholders


def test_a_prompt_without_recordings_has_none(made):
    inputs = made[1]
    media = inputs.prompt("What is it?").media
    assert media.mel.shape == (0, 40, 16) and media.mask.shape == (0, 40) and media.slots.shape == (0,)
    assert inputs.sample_rate == RATE and not inputs.turned


def test_what_cannot_be_heard_is_refused(made, tmp_path):
    folder, inputs = made
    with pytest.raises(RecordError, match="1.1 s, at most 1 s are heard"):
        inputs.prompt("What is it?", sounds=[noise(RATE + 1600)])
    long = noise(RATE + 1600)
    cut = open_inputs(folder, "qwen2_audio", truncate=True)
    np.testing.assert_allclose(
        cut.prompt("", sounds=[long]).media.mel, say(folder, [long])["input_features"].transpose(0, 2, 1), atol=1e-6
    )
    for samples in (0, 1, 799):
        with pytest.raises(RecordError, match="too short to be heard"):
            inputs.prompt("What is it?", sounds=[noise(samples)])
    with pytest.raises(RecordError, match="has 1 images, and a qwen2_audio takes audios only"):
        inputs.prompt("What is it?", images=[np.zeros((5, 5, 3), np.uint8)])
    with pytest.raises(RecordError, match="listens only"):
        inputs.processor.videos([[]])


def test_files_of_two_checkpoints_are_noticed(tmp_path):
    published.make_inputs(tmp_path, "qwen2_audio")
    transformers.WhisperFeatureExtractor(feature_size=16, hop_length=200, chunk_length=1).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="80 frames of 16 mels, and the tower takes 40 of 16"):
        open_inputs(tmp_path, "qwen2_audio")
