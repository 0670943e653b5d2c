"""Our sound encoder and its projector against Qwen2-Audio of transformers: same weights, features and gradients."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from align_jax.models import projector, whisper
from align_jax.models.families import projectors, sound
from align_jax.models.projector import Projector
from align_jax.models.whisper import SoundEncoder
from align_jax.sharding import make_mesh, match, shardings, to_mesh
from align_jax.types import Sound
from tests.models.tower_parity import arrays_of, compare_gradients, gradients_of, randomised, to_params

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.parity

MELS, POSITIONS, DIM, AUDIO = 12, 22, 24, 30
LENGTHS = np.array([[44, 17], [5, 18], [1, 2], [43, 0]])  # frames of each row's recordings; 0: there is none
FEATURES = (LENGTHS + 1) // 2 // 2
PREFIXES = ("model.audio_tower.", "model.multi_modal_projector.")


@pytest.fixture(scope="module")
def theirs():
    audio = dict(
        model_type="qwen2_audio_encoder",
        d_model=32,
        encoder_layers=2,
        encoder_attention_heads=4,
        encoder_ffn_dim=48,
        num_mel_bins=MELS,
        max_source_positions=POSITIONS,
    )
    text = dict(
        model_type="qwen2",
        vocab_size=32,
        hidden_size=DIM,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
    )
    config = transformers.Qwen2AudioConfig(audio_config=audio, text_config=text, audio_token_index=AUDIO)
    return randomised(transformers.Qwen2AudioForConditionalGeneration(config))


@pytest.fixture(scope="module")
def configs(theirs):
    hf = theirs.config.to_dict()
    return sound.qwen2_audio(hf["audio_config"]), projectors.qwen2_audio(hf)


@pytest.fixture(scope="module")
def tensors(configs):
    return whisper.weights(configs[0], PREFIXES[0]) + projector.weights(configs[1], PREFIXES[1], projector.QWEN2_AUDIO)


@pytest.fixture(scope="module")
def params(theirs, configs, tensors):
    return to_params(tensors, arrays_of(theirs, *PREFIXES), jax.eval_shape(lambda: init(*configs)))


@pytest.fixture(scope="module")
def media() -> Sound:
    B, N = LENGTHS.shape
    mel = np.random.default_rng(0).normal(size=(B, N, 2 * POSITIONS, MELS)).astype(np.float32)
    mask = (np.arange(2 * POSITIONS) < LENGTHS[..., None]).astype(np.float32)
    return Sound(jnp.asarray(mel), jnp.asarray(mask), jnp.zeros((B, 1), jnp.int32))


@pytest.fixture(scope="module")
def their_features(theirs, media) -> dict[tuple[int, int], "torch.Tensor"]:
    """[features, DIM] of every recording, as the language model is given them; on torch's tape."""
    recordings = [index for index in np.ndindex(*LENGTHS.shape) if FEATURES[index]]
    mel = torch.from_numpy(np.stack([media.mel[i] for i in recordings])).transpose(1, 2)
    mask = torch.from_numpy(np.stack([media.mask[i] for i in recordings])).long()
    longest = FEATURES.max()
    ids = torch.full((len(recordings), longest + 1), 3)
    for row, index in enumerate(recordings):
        ids[row, : FEATURES[index]] = AUDIO
    given = []
    part = theirs.model.language_model
    handle = part.register_forward_pre_hook(lambda m, a, kw: given.append(kw["inputs_embeds"]), with_kwargs=True)
    theirs(input_ids=ids, input_features=mel, feature_attention_mask=mask, attention_mask=torch.ones_like(ids))
    handle.remove()
    return {index: given[0][row, : FEATURES[index]] for row, index in enumerate(recordings)}


@pytest.fixture(scope="module")
def direction() -> np.ndarray:
    """[B, N, tokens, DIM]: random on features, 0 on padding."""
    real = np.arange(POSITIONS // 2) < FEATURES[..., None]
    return np.random.default_rng(1).normal(size=(*real.shape, DIM)).astype(np.float32) * real[..., None]


@functools.partial(jax.jit, static_argnums=(0, 1))
def init(encoder, config) -> dict:
    heard, params = SoundEncoder(encoder).init_with_output(jax.random.key(0), whisper.blank(encoder))
    return {"vision": params["params"], "projector": Projector(config).init(jax.random.key(0), heard)["params"]}


@functools.partial(jax.jit, static_argnums=(0, 1))
def features_and_gradients(encoder, config, params: dict, media: Sound, direction: jax.Array):
    """Features [B, N, tokens, DIM], and the gradient of their sum along `direction`."""

    def project(params):
        heard = SoundEncoder(encoder).apply({"params": params["vision"]}, media)
        features = Projector(config).apply({"params": params["projector"]}, heard).reshape(direction.shape)
        return (features.astype(jnp.float32) * direction).sum(), features

    (_, features), gradients = jax.value_and_grad(project, has_aux=True)(params)
    return features, gradients


@pytest.fixture(scope="module")
def ours(configs, params, media, direction):
    return features_and_gradients(*configs, params, media, direction)


def test_features_are_equal(ours, their_features):
    assert len(their_features) == 5, "those of one or two frames, and what is not there, have no feature"
    for index, theirs in their_features.items():
        expected = theirs.detach().numpy()
        assert 0.3 < expected.std() < 3.0
        np.testing.assert_allclose(ours[0][index][: len(expected)], expected, atol=2e-5, rtol=0)


def test_gradients_are_equal_and_the_positions_are_fixed(theirs, tensors, configs, ours, their_features, direction):
    theirs.zero_grad()
    sum((x * torch.from_numpy(direction[i][: len(x)])).sum() for i, x in their_features.items()).backward(
        retain_graph=True
    )
    compare_gradients(
        tensors, ours[1], gradients_of(theirs, list(arrays_of(theirs, *PREFIXES))), whisper.idle(configs[0])
    )


def test_padding_changes_nothing_beyond_what_the_convolutions_reach(configs, params, media, direction, ours):
    reached = LENGTHS + 1 + LENGTHS % 2
    frame = np.arange(2 * POSITIONS)
    beyond = (frame >= reached[..., None])[..., None]
    other = dataclasses.replace(media, mel=jnp.where(beyond, media.mel + 3.0, media.mel))
    features, gradients = features_and_gradients(*configs, params, other, direction)
    np.testing.assert_array_equal(features * direction, ours[0] * direction)
    jax.tree.map(np.testing.assert_array_equal, gradients, ours[1])
    last = (frame == reached[..., None] - 1)[..., None]
    nearer = dataclasses.replace(media, mel=jnp.where(last, media.mel + 3.0, media.mel))
    features, _ = features_and_gradients(*configs, params, nearer, direction)
    # Behind 43 and 44 frames there is nothing to reach; 1 and 2 frames have no feature.
    changed = {i for i in np.ndindex(*LENGTHS.shape) if np.abs((features - ours[0])[i] * direction[i]).max() > 1e-4}
    assert changed == {(0, 1), (1, 0), (1, 1)}


def test_recordings_do_not_hear_each_other(configs, params, media, direction, ours):
    other = dataclasses.replace(media, mel=media.mel.at[0, 1].add(1.0))
    features, _ = features_and_gradients(*configs, params, other, direction)
    changed = np.abs(features - ours[0]).max((2, 3)) > 1e-4
    np.testing.assert_array_equal(changed, np.arange(8).reshape(4, 2) == 1)


def test_what_is_not_there_gives_finite_numbers(ours):
    assert all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves(ours))


@pytest.mark.parametrize("how", [dict(remat=True), dict(unroll=2)], ids=["remat", "unrolled"])
def test_the_way_of_computing_changes_nothing(configs, params, media, direction, ours, how):
    again = features_and_gradients(dataclasses.replace(configs[0], **how), configs[1], params, media, direction)
    for actual, expected in zip(jax.tree.leaves(again), jax.tree.leaves(ours), strict=True):
        np.testing.assert_allclose(actual, expected, atol=1e-5 * float(jnp.abs(expected).max()) + 1e-5)


def test_bfloat16_runs(configs, params, media, direction, ours):
    as_bfloat16 = [dataclasses.replace(c, dtype="bfloat16") for c in configs]
    features, gradients = features_and_gradients(*as_bfloat16, params, media, direction)
    assert features.dtype == jnp.bfloat16
    assert all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves(gradients))
    error = np.abs((features.astype(jnp.float32) - ours[0]) * (direction != 0))
    assert error.max() < 0.15 and error.mean() < 0.02


def test_a_mesh_gives_what_one_device_gives(configs, params, media, direction, ours):
    mesh = make_mesh(2, 2, 2)
    specs = match(params, (*whisper.rules(configs[0]), *projector.rules(configs[1])))
    placed = jax.device_put(params, shardings(mesh, specs))
    with jax.set_mesh(mesh):
        features, _ = features_and_gradients(*configs, placed, to_mesh(mesh, media), to_mesh(mesh, direction))
    np.testing.assert_allclose(features, ours[0], atol=1e-5)


def test_fresh_positions_are_whispers():
    from transformers.models.whisper import modeling_whisper

    expected = modeling_whisper.sinusoids(POSITIONS, 32).numpy()
    np.testing.assert_allclose(whisper.sinusoids(jax.random.key(0), (POSITIONS, 32)), expected, atol=1e-6)


def test_spectrograms_of_another_length_are_refused(configs, media):
    shorter = dataclasses.replace(media, mel=media.mel[:, :, :-2], mask=media.mask[:, :, :-2])
    with pytest.raises(ValueError, match="44"):
        jax.eval_shape(lambda: SoundEncoder(configs[0]).init(jax.random.key(0), shorter))
