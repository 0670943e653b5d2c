"""Published config.json files open, with the numbers that transformers reads from them."""

import json
import math

import jax
import numpy as np
import pytest
from jax.sharding import AbstractMesh, NamedSharding

from align_jax import sharding
from align_jax.models import activations, architecture, families, mllm
from align_jax.models.decoder import ACTIVATIONS
from align_jax.models.patch_vit import PatchVisionConfig
from align_jax.models.vit import VisionConfig
from tests.models.families.published_configs import CONFIGS

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module", params=CONFIGS)
def folder(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    (folder / "config.json").write_text(json.dumps(CONFIGS[request.param]), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def sizes(folder) -> mllm.MLLMConfig:
    return families.build(architecture.read_config(folder)).sizes


@pytest.fixture(scope="module")
def theirs(folder):
    torch = pytest.importorskip("torch")
    config = transformers.AutoConfig.from_pretrained(folder)
    kind = transformers.AutoModelForImageTextToText
    if config.model_type == "qwen2_audio":
        kind = transformers.AutoModelForSeq2SeqLM
    elif not hasattr(config, "vision_config"):
        kind = transformers.AutoModelForCausalLM
    with torch.device("meta"):
        return kind.from_config(config)


def text_of(model):
    """Their decoder."""
    for name in ("language_model", "text_model"):
        if hasattr(model.model, name):
            return getattr(model.model, name)
    return model.model


def same_function(ours, theirs) -> bool:
    torch = pytest.importorskip("torch")
    x = np.linspace(-4, 4, 41, dtype=np.float32)
    return np.allclose(ours(x), theirs(torch.tensor(x)).numpy(), atol=1e-6)


def test_every_parameter_has_one_rule_and_a_place_on_eight_devices(sizes):
    shapes = mllm.param_shapes(sizes)
    mesh = AbstractMesh((2, 2, 2), sharding.AXES)
    specs = sharding.match(shapes, mllm.rules(sizes), mesh)  # what does not divide stays whole: one key-value head
    jax.tree.map(lambda x, spec: NamedSharding(mesh, spec).shard_shape(x.shape), shapes, specs)


@pytest.mark.parity
def test_as_many_parameters(sizes, theirs):
    ours = sum(math.prod(x.shape) for x in jax.tree.leaves(mllm.param_shapes(sizes)))
    theirs.tie_weights()
    assert ours == sum(p.numel() for p in theirs.parameters())


@pytest.mark.parity
def test_the_decoder_has_the_same_settings(sizes, theirs):
    ours, decoder = sizes.decoder, text_of(theirs)
    assert len(decoder.layers) == ours.layers
    for i, local in enumerate(ours.local or (False,) * ours.layers):
        attention = decoder.layers[i].self_attn
        # Mistral's layers do not know their window: its mask is made from the config.
        where = decoder.config if decoder.config.model_type == "mistral" else attention
        assert (getattr(where, "sliding_window", None) or 0) == (ours.window if local else 0), i
    attention = decoder.layers[0].self_attn
    assert attention.head_dim == ours.head_dim
    assert math.isclose(attention.scaling, ours.query_scale or ours.head_dim**-0.5, rel_tol=1e-6)
    assert (attention.q_proj.bias is not None, attention.o_proj.bias is not None) == (ours.qkv_bias, ours.out_bias)
    norms = [module for name, module in decoder.named_modules() if name.endswith("norm")]
    assert norms and all(getattr(n, "variance_epsilon", getattr(n, "eps", None)) == ours.norm_eps for n in norms)
    assert same_function(ACTIVATIONS[ours.activation], decoder.layers[0].mlp.act_fn)
    assert getattr(decoder.config, "attn_logit_softcapping", None) == ours.attention_softcap
    assert getattr(decoder.config, "final_logit_softcapping", None) == ours.final_softcap
    scale = getattr(decoder.embed_tokens, "scalar_embed_scale", 1.0)
    assert math.isclose(scale, ours.embed_scale, rel_tol=1e-6)


@pytest.mark.parity
def test_frequencies_are_equal(sizes, theirs):
    ours, decoder = sizes.decoder, text_of(theirs)
    module = type(decoder.rotary_emb)(decoder.config)  # on a real device
    if ours.local and ours.local_rope:
        pairs = [(ours.rope, "full_attention_"), (ours.local_rope, "sliding_attention_")]
    else:
        pairs = [(ours.rope, "")]
    for rope, name in pairs:
        found, scale = rope.frequencies(ours.head_dim)
        np.testing.assert_allclose(found, getattr(module, f"{name}inv_freq").numpy(), rtol=1e-6)
        assert scale == getattr(module, f"{name}attention_scaling")
    if ours.rope.sections:
        section = getattr(module, "mrope_section", None) or decoder.config.rope_parameters["mrope_section"]
        assert tuple(section) == ours.rope.sections


@pytest.mark.parity
def test_the_tower_has_the_same_settings(sizes, theirs):
    ours = sizes.vision
    if ours is None:
        pytest.skip("a text model")
    names = ("vision_tower", "vision_model", "visual", "audio_tower")
    tower = next(getattr(theirs.model, name) for name in names if hasattr(theirs.model, name))
    found = {n for name, m in tower.named_modules() if (n := getattr(m, "eps", getattr(m, "variance_epsilon", None)))}
    if isinstance(ours, PatchVisionConfig):
        assert found == {1e-6}
        block = tower.blocks[0]
        assert same_function(
            activations.ACTIVATIONS[ours.activation], getattr(block.mlp, "act_fn", None) or block.mlp.act
        )
        full = getattr(tower, "fullatt_block_indexes", ())
        assert tuple(full) == ours.full_layers
        assert tuple(getattr(tower, "deepstack_visual_indexes", ())) == ours.deepstack_layers
        heads = tower.blocks[0].attn
        assert heads.num_heads == ours.heads
        head_dim = ours.dim // ours.heads // 2  # of rows, and of columns
        plain = ours.rope_theta ** -(np.arange(0, head_dim, 2) / head_dim)
        found = type(tower.rotary_pos_emb)(tower.config).inv_freq.numpy()  # on a real device
        np.testing.assert_allclose(found, plain, rtol=1e-6)
    elif isinstance(ours, VisionConfig):
        assert found <= {ours.norm_eps, 1e-6 if ours.qk_norm else ours.norm_eps}
        acts = [m for name, m in tower.named_modules() if name.endswith(("activation_fn", "mlp.act"))]
        assert acts and same_function(activations.ACTIVATIONS[ours.activation], acts[0])
        kept = theirs.config.vision_feature_layer if hasattr(theirs.config, "vision_feature_layer") else -1
        assert ours.tail == -1 - kept


@pytest.mark.parity
def test_the_projector_has_the_same_activation(sizes, theirs):
    ours = sizes.projector
    module = getattr(theirs.model, "multi_modal_projector", None)
    if ours is None or not hasattr(module, "act"):
        pytest.skip("no activation between two layers")
    assert same_function(activations.ACTIVATIONS[ours.activation], module.act)
