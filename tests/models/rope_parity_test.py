"""Frequencies against those of transformers, and rotations against those of models that use them."""

import jax.numpy as jnp
import numpy as np
import pytest

from align_jax.models.rope import Rope, rotary, rotate

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.parity

HEAD, HEADS = 64, 4
THEIRS = {  # rope_parameters -> ours
    "linear": (dict(factor=4.0), dict(factor=4.0)),
    "llama3": (
        dict(factor=32.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=8192),
        dict(factor=32.0, low_freq_factor=1.0, high_freq_factor=4.0, original_context=8192),
    ),
    "yarn": (
        dict(factor=4.0, beta_fast=32.0, beta_slow=1.0, original_max_position_embeddings=4096),
        dict(factor=4.0, beta_fast=32.0, beta_slow=1.0, original_context=4096),
    ),
}


def config(parameters):
    return transformers.LlamaConfig(
        hidden_size=HEADS * HEAD,
        num_attention_heads=HEADS,
        head_dim=HEAD,
        max_position_embeddings=16384,
        rope_parameters=parameters,
    )


@pytest.mark.parametrize("theta", [10000.0, 500000.0])
@pytest.mark.parametrize("kind", THEIRS)
def test_frequencies_and_scale(kind, theta):
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    theirs, ours = THEIRS[kind]
    parameters = {"rope_type": kind, "rope_theta": theta, **theirs}
    expected, scale = ROPE_INIT_FUNCTIONS[kind](config(parameters), torch.device("cpu"))
    found, our_scale = Rope(theta, kind, **ours).frequencies(HEAD)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5)
    np.testing.assert_allclose(our_scale, scale, rtol=1e-6)
    assert (np.abs(found / Rope(theta).frequencies(HEAD)[0] - 1) > 0.1).any(), "the stretch does something"


@pytest.mark.parametrize("kind", ["default", *THEIRS])
def test_cosines_and_sines(kind):
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    theirs, ours = THEIRS.get(kind, ({}, {}))
    module = LlamaRotaryEmbedding(config({"rope_type": kind, "rope_theta": 10000.0, **theirs}))
    positions = np.random.default_rng(0).integers(0, 200, (2, 9))
    expected = module(torch.zeros(()), torch.tensor(positions))
    found = rotary(Rope(10000.0, kind, **ours), jnp.asarray(positions)[..., None], HEAD)
    for ours_, theirs_ in zip(found, expected, strict=True):  # they repeat the angles for the other half of a head
        np.testing.assert_allclose(ours_, theirs_.numpy()[..., : HEAD // 2], atol=2e-5)


def test_rotation_of_queries():
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

    x = np.random.default_rng(0).normal(size=(2, 9, HEADS, HEAD)).astype(np.float32)
    positions = np.random.default_rng(1).integers(0, 200, (2, 9))
    cos, sin = LlamaRotaryEmbedding(config({"rope_type": "default", "rope_theta": 10000.0}))(
        torch.zeros(()), torch.tensor(positions)
    )
    expected, _ = apply_rotary_pos_emb(torch.tensor(x).transpose(1, 2), torch.tensor(x).transpose(1, 2), cos, sin)
    found = rotate(jnp.asarray(x), *rotary(Rope(), jnp.asarray(positions)[..., None], HEAD))
    np.testing.assert_allclose(found, expected.transpose(1, 2).numpy(), atol=5e-5)


POSITIONS = np.random.default_rng(0).integers(0, 200, (2, 9, 3))


@pytest.mark.parametrize(
    "family, sections, interleaved", [("qwen2_vl", (8, 12, 12), False), ("qwen3_vl", (12, 10, 10), True)]
)
def test_sections_of_three_axes(family, sections, interleaved):
    name, module = {
        "qwen2_vl": ("Qwen2VL", transformers.models.qwen2_vl.modeling_qwen2_vl.Qwen2VLRotaryEmbedding),
        "qwen3_vl": ("Qwen3VL", transformers.models.qwen3_vl.modeling_qwen3_vl.Qwen3VLTextRotaryEmbedding),
    }[family]
    text_config = getattr(getattr(transformers.models, family), f"{name}TextConfig")(
        hidden_size=HEADS * HEAD,
        num_attention_heads=HEADS,
        head_dim=HEAD,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6, "mrope_section": list(sections)},
    )
    expected = module(text_config)(torch.zeros(()), torch.tensor(POSITIONS).permute(2, 0, 1))
    found = rotary(Rope(1e6, sections=sections, interleaved=interleaved), jnp.asarray(POSITIONS), HEAD)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs.numpy()[..., : HEAD // 2], atol=2e-5)
