"""The published sizes: our models have exactly as many parameters, and a partition rule for each."""

import math

import jax
import pytest
from jax.sharding import AbstractMesh, NamedSharding

from align_jax import sharding
from align_jax.models import families, mllm

transformers = pytest.importorskip("transformers")

CLIP_L = dict(
    model_type="clip_vision_model",
    hidden_size=1024,
    intermediate_size=4096,
    num_hidden_layers=24,
    num_attention_heads=16,
    image_size=336,
    patch_size=14,
    projection_dim=768,
)
SO400M = dict(
    model_type="siglip_vision_model",
    hidden_size=1152,
    intermediate_size=4304,
    num_attention_heads=16,
    patch_size=14,
    vision_use_head=False,
)
ROPE_QWEN_VL = dict(type="mrope", mrope_section=[16, 24, 24])


def vicuna(**sizes):
    return dict(model_type="llama", vocab_size=32064, max_position_embeddings=4096, rms_norm_eps=1e-5, **sizes)


def llava(**text):
    shared = dict(vision_feature_layer=-2, vision_feature_select_strategy="default", image_token_index=32000)
    return dict(model_type="llava", vision_config=CLIP_L, text_config=vicuna(**text), **shared)


def onevision(tied: bool, **text):
    vision = SO400M | dict(num_hidden_layers=26, image_size=384)
    text = dict(model_type="qwen2", num_key_value_heads=text.pop("kv"), tie_word_embeddings=tied, **text)
    return dict(
        model_type="llava_onevision",
        vision_config=vision,
        text_config=text,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        vision_aspect_ratio="anyres_max_9",
        tie_word_embeddings=tied,
    )


def qwen2_5_vl(tied: bool, vision_mlp: int, **text):
    vision = dict(
        depth=32,
        hidden_size=1280,
        intermediate_size=vision_mlp,
        num_heads=16,
        out_hidden_size=text["hidden_size"],
        window_size=112,
        fullatt_block_indexes=[7, 15, 23, 31],
        patch_size=14,
        spatial_merge_size=2,
        temporal_patch_size=2,
    )
    text = dict(text, max_position_embeddings=128000, rope_theta=1e6, rope_scaling=ROPE_QWEN_VL)
    return dict(model_type="qwen2_5_vl", vision_config=vision, tie_word_embeddings=tied, **text)


def gemma3(**text):
    vision = SO400M | dict(num_hidden_layers=27, image_size=896)
    text = dict(
        model_type="gemma3_text",
        vocab_size=262208,
        sliding_window=1024,
        rope_scaling=dict(rope_type="linear", factor=8.0),
        rope_theta=1e6,
        rope_local_base_freq=1e4,
        max_position_embeddings=131072,
        **text,
    )
    return dict(model_type="gemma3", vision_config=vision, text_config=text, mm_tokens_per_image=256)


QWEN2_7B = dict(
    hidden_size=3584,
    intermediate_size=18944,
    num_hidden_layers=28,
    num_attention_heads=28,
    max_position_embeddings=32768,
)
# Number of parameters as the model pages on Hugging Face give them.
PUBLISHED = {
    "LLaVA-1.5-7B": (
        7_063_427_072,
        llava(hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32),
    ),
    "LLaVA-1.5-13B": (
        13_350_839_296 + 2 * 64 * 5120,  # the authors' own has 32,000 tokens; transformers' form of it 64 more
        llava(hidden_size=5120, intermediate_size=13824, num_hidden_layers=40, num_attention_heads=40),
    ),
    "LLaVA-OneVision-0.5B": (
        None,  # no figure at hand: compared with transformers alone
        onevision(
            True,
            vocab_size=152000,
            hidden_size=896,
            intermediate_size=4864,
            num_hidden_layers=24,
            num_attention_heads=14,
            kv=2,
        ),
    ),
    # As for 13B: 152,064 tokens.
    "LLaVA-OneVision-7B": (8_030_348_832 + 2 * 64 * 3584, onevision(False, vocab_size=152128, kv=4, **QWEN2_7B)),
    "Qwen2.5-VL-3B": (
        3_754_622_976,
        qwen2_5_vl(
            True,
            3420,
            vocab_size=151936,
            hidden_size=2048,
            intermediate_size=11008,
            num_hidden_layers=36,
            num_attention_heads=16,
            num_key_value_heads=2,
        ),
    ),
    "Qwen2.5-VL-7B": (
        8_292_166_656,
        qwen2_5_vl(
            False,
            3420,
            vocab_size=152064,
            hidden_size=3584,
            intermediate_size=18944,
            num_hidden_layers=28,
            num_attention_heads=28,
            num_key_value_heads=4,
        ),
    ),
    "Qwen2.5-VL-72B": (
        73_410_777_344,
        qwen2_5_vl(
            False,
            3456,
            vocab_size=152064,
            hidden_size=8192,
            intermediate_size=29568,
            num_hidden_layers=80,
            num_attention_heads=64,
            num_key_value_heads=8,
        ),
    ),
    "InternVL3-8B": (
        7_944_373_760,
        dict(
            model_type="internvl",
            text_config=dict(model_type="qwen2", vocab_size=151674, num_key_value_heads=4, **QWEN2_7B),
            vision_config=dict(
                hidden_size=1024,
                intermediate_size=4096,
                num_hidden_layers=24,
                num_attention_heads=16,
                image_size=[448, 448],
                patch_size=[14, 14],
                attention_bias=True,
            ),
            downsample_ratio=0.5,
        ),
    ),
    "Gemma-3-4B": (
        4_300_079_472,
        gemma3(
            hidden_size=2560,
            intermediate_size=10240,
            num_hidden_layers=34,
            num_attention_heads=8,
            num_key_value_heads=4,
            head_dim=256,
            query_pre_attn_scalar=256,
        ),
    ),
    "Gemma-3-27B": (
        27_432_406_640,
        gemma3(
            hidden_size=5376,
            intermediate_size=21504,
            num_hidden_layers=62,
            num_attention_heads=32,
            num_key_value_heads=16,
            head_dim=128,
            query_pre_attn_scalar=168,
        ),
    ),
    "Qwen2-Audio-7B": (
        8_397_094_912,
        dict(
            model_type="qwen2_audio",
            audio_config=dict(
                model_type="qwen2_audio_encoder",
                d_model=1280,
                encoder_layers=32,
                encoder_attention_heads=20,
                encoder_ffn_dim=5120,
                num_mel_bins=128,
                max_source_positions=1500,
            ),
            text_config=dict(
                model_type="qwen2",
                vocab_size=156032,
                hidden_size=4096,
                intermediate_size=11008,
                num_hidden_layers=32,
                num_attention_heads=32,
                num_key_value_heads=32,
            ),
        ),
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_parameter_is_there_and_has_one_rule(name):
    expected, config = PUBLISHED[name]
    hf = transformers.AutoConfig.for_model(**config).to_dict()
    family = families.build(hf)
    shapes = mllm.param_shapes(family.sizes)
    assert expected is None or count(shapes) == expected
    specs = sharding.match(shapes, mllm.rules(family.sizes))
    mesh = AbstractMesh((2, 2, 2), sharding.AXES)
    jax.tree.map(lambda x, spec: NamedSharding(mesh, spec).shard_shape(x.shape), shapes, specs)  # raises if it cannot


@pytest.mark.parity
@pytest.mark.parametrize("name", PUBLISHED)
def test_transformers_counts_the_same(name):
    torch = pytest.importorskip("torch")
    config = transformers.AutoConfig.for_model(**PUBLISHED[name][1])
    with torch.device("meta"):
        kinds = transformers.AutoModelForImageTextToText, transformers.AutoModelForSeq2SeqLM
        model = kinds[config.model_type == "qwen2_audio"].from_config(config)
    model.tie_weights()
    ours = mllm.param_shapes(families.build(config.to_dict()).sizes)
    assert count(ours) == sum(p.numel() for p in model.parameters())


def count(shapes) -> int:
    return sum(math.prod(x.shape) for x in jax.tree.leaves(shapes))
