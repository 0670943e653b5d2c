"""config.json as published: what the files say, with what they leave out and the older names that they use.

Settings of training and generation, which no model reads, are left out.
"""

from typing import Any


def _llava_clip() -> dict[str, Any]:
    return dict(
        hidden_size=1024,
        image_size=336,
        intermediate_size=4096,
        model_type="clip_vision_model",
        num_attention_heads=16,
        num_hidden_layers=24,
        patch_size=14,
        projection_dim=768,
        vocab_size=32000,
    )


def _siglip(layers: int, size: int) -> dict[str, Any]:
    return dict(
        hidden_size=1152,
        image_size=size,
        intermediate_size=4304,
        model_type="siglip_vision_model",
        num_attention_heads=16,
        num_hidden_layers=layers,
        patch_size=14,
        vision_use_head=False,
    )


def _llava(model_type: str, text: dict[str, Any], **more: Any) -> dict[str, Any]:
    return dict(
        ignore_index=-100,
        image_token_index=32000,
        model_type=model_type,
        projector_hidden_act="gelu",
        text_config=text,
        tie_word_embeddings=False,
        torch_dtype="float16",
        vision_config=_llava_clip(),
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        vocab_size=32064,
    ) | dict(more)


VICUNA = dict(
    _name_or_path="lmsys/vicuna-7b-v1.5",
    architectures=["LlamaForCausalLM"],
    max_position_embeddings=4096,
    model_type="llama",
    rms_norm_eps=1e-05,
    torch_dtype="float16",
    vocab_size=32064,
)
VICUNA_13B = VICUNA | dict(hidden_size=5120, intermediate_size=13824, num_attention_heads=40, num_hidden_layers=40)
VICUNA_13B = VICUNA_13B | dict(num_key_value_heads=40)
MISTRAL_V2 = dict(
    architectures=["MistralForCausalLM"],
    intermediate_size=14336,
    max_position_embeddings=32768,
    model_type="mistral",
    num_key_value_heads=8,
    rms_norm_eps=1e-05,
    rope_theta=1000000.0,
    sliding_window=None,
    vocab_size=32064,
)
NEXT = dict(
    image_grid_pinpoints=[[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]],
    use_image_newline_parameter=True,
)
LLAMA3_8B = dict(
    architectures=["LlamaForCausalLM"],
    attention_bias=False,
    hidden_act="silu",
    hidden_size=4096,
    intermediate_size=14336,
    max_position_embeddings=8192,
    model_type="llama",
    num_attention_heads=32,
    num_hidden_layers=32,
    num_key_value_heads=8,
    pretraining_tp=1,
    rms_norm_eps=1e-05,
    rope_scaling=None,
    rope_theta=500000.0,
    tie_word_embeddings=False,
    vocab_size=128256,
)


def _onevision(tied: bool, **text: Any) -> dict[str, Any]:
    return dict(
        ignore_index=-100,
        image_grid_pinpoints=[[384 * y, 384 * x] for y in range(1, 7) for x in range(1, 7)],
        image_token_index=151646,
        model_type="llava_onevision",
        projector_hidden_act="gelu",
        text_config=dict(architectures=["Qwen2ForCausalLM"], model_type="qwen2", use_sliding_window=False, **text),
        tie_word_embeddings=tied,
        torch_dtype="float16",
        use_image_newline_parameter=True,
        video_token_index=151647,
        vision_aspect_ratio="anyres_max_9",
        vision_config=_siglip(26, 384),
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
    )


def _qwen_text(hidden: int, mlp: int, layers: int, heads: int, kv: int, **more: Any) -> dict[str, Any]:
    return dict(
        hidden_size=hidden,
        intermediate_size=mlp,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv,
        hidden_act="silu",
        attention_dropout=0.0,
        initializer_range=0.02,
        rms_norm_eps=1e-06,
        use_cache=True,
        use_sliding_window=False,
    ) | dict(more)


QWEN_VL_TOKENS = dict(
    bos_token_id=151643,
    eos_token_id=151645,
    vision_start_token_id=151652,
    vision_end_token_id=151653,
    vision_token_id=151654,
    image_token_id=151655,
    video_token_id=151656,
)


def _qwen2_vl(text: dict[str, Any], tied: bool, vocab_size: int) -> dict[str, Any]:
    vision = dict(
        depth=32,
        embed_dim=1280,
        mlp_ratio=4,
        num_heads=16,
        in_chans=3,
        hidden_size=text["hidden_size"],
        patch_size=14,
        spatial_merge_size=2,
        spatial_patch_size=14,
        temporal_patch_size=2,
    )
    return dict(
        architectures=["Qwen2VLForConditionalGeneration"],
        model_type="qwen2_vl",
        max_position_embeddings=32768,
        max_window_layers=28,
        rope_theta=1000000.0,
        sliding_window=32768,
        tie_word_embeddings=tied,
        torch_dtype="bfloat16",
        vision_config=vision,
        rope_scaling={"type": "mrope", "mrope_section": [16, 24, 24]},
        vocab_size=vocab_size,
        **QWEN_VL_TOKENS,
        **text,
    )


def _qwen2_5_vl(text: dict[str, Any], tied: bool, vocab_size: int, vision_mlp: int, max_window: int) -> dict[str, Any]:
    vision = dict(
        depth=32,
        hidden_act="silu",
        hidden_size=1280,
        intermediate_size=vision_mlp,
        num_heads=16,
        in_chans=3,
        out_hidden_size=text["hidden_size"],
        patch_size=14,
        spatial_merge_size=2,
        spatial_patch_size=14,
        window_size=112,
        fullatt_block_indexes=[7, 15, 23, 31],
        tokens_per_second=2,
        temporal_patch_size=2,
    )
    return dict(
        architectures=["Qwen2_5_VLForConditionalGeneration"],
        model_type="qwen2_5_vl",
        max_position_embeddings=128000,
        max_window_layers=max_window,
        rope_theta=1000000.0,
        sliding_window=32768,
        tie_word_embeddings=tied,
        torch_dtype="bfloat16",
        vision_config=vision,
        rope_scaling={"type": "mrope", "mrope_section": [16, 24, 24]},
        vocab_size=vocab_size,
        **QWEN_VL_TOKENS,
        **text,
    )


def _qwen3_vl(hidden: int, mlp: int, tied: bool, **vision: Any) -> dict[str, Any]:
    return dict(
        architectures=["Qwen3VLForConditionalGeneration"],
        image_token_id=151655,
        model_type="qwen3_vl",
        text_config=dict(
            attention_bias=False,
            attention_dropout=0.0,
            bos_token_id=151643,
            dtype="bfloat16",
            eos_token_id=151645,
            head_dim=128,
            hidden_act="silu",
            hidden_size=hidden,
            initializer_range=0.02,
            intermediate_size=mlp,
            max_position_embeddings=262144,
            model_type="qwen3_vl_text",
            num_attention_heads=32,
            num_hidden_layers=36,
            num_key_value_heads=8,
            rms_norm_eps=1e-06,
            rope_scaling={"mrope_interleaved": True, "mrope_section": [24, 20, 20], "rope_type": "default"},
            rope_theta=5000000,
            **(dict(tie_word_embeddings=True) if tied else {}),
            use_cache=True,
            vocab_size=151936,
        ),
        tie_word_embeddings=tied,
        video_token_id=151656,
        vision_config=dict(
            hidden_act="gelu_pytorch_tanh",
            in_channels=3,
            initializer_range=0.02,
            model_type="qwen3_vl",
            num_heads=16,
            num_position_embeddings=2304,
            out_hidden_size=hidden,
            patch_size=16,
            spatial_merge_size=2,
            temporal_patch_size=2,
            **vision,
        ),
        vision_end_token_id=151653,
        vision_start_token_id=151652,
    )


INTERNVIT_300M = dict(
    architectures=["InternVisionModel"],
    attention_bias=True,
    attention_dropout=0.0,
    dropout=0.0,
    hidden_act="gelu",
    hidden_dropout_prob=0.0,
    hidden_size=1024,
    image_size=[448, 448],
    initializer_factor=0.1,
    initializer_range=1e-10,
    intermediate_size=4096,
    layer_norm_eps=1e-06,
    layer_scale_init_value=0.1,
    model_type="internvl_vision",
    norm_type="layer_norm",
    num_attention_heads=16,
    num_channels=3,
    num_hidden_layers=24,
    patch_size=[14, 14],
    projection_dropout=0.0,
    torch_dtype="bfloat16",
    use_absolute_position_embeddings=True,
    use_mask_token=False,
    use_mean_pooling=True,
    use_qk_norm=False,
)
INTERNVIT_6B = INTERNVIT_300M | dict(
    attention_bias=False,
    hidden_size=3200,
    intermediate_size=12800,
    norm_type="rms_norm",
    num_attention_heads=25,
    num_hidden_layers=45,
    use_qk_norm=True,
)


def _internvl(text: dict[str, Any], vision: dict[str, Any], image_token_id: int) -> dict[str, Any]:
    return dict(
        architectures=["InternVLForConditionalGeneration"],
        downsample_ratio=0.5,
        image_seq_length=256,
        image_token_id=image_token_id,
        model_type="internvl",
        projector_hidden_act="gelu",
        text_config=text,
        torch_dtype="bfloat16",
        vision_config=vision,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
    )


INTERNVL3_TEXT = dict(
    architectures=["Qwen2ForCausalLM"],
    max_position_embeddings=32768,
    max_window_layers=70,
    model_type="qwen2",
    rope_scaling={"factor": 2.0, "rope_type": "dynamic", "type": "dynamic"},
    rope_theta=1000000.0,
    sliding_window=None,
    torch_dtype="bfloat16",
    vocab_size=151674,
)
INTERNVL35_TEXT = dict(
    architectures=["Qwen3ForCausalLM"],
    attention_bias=False,
    head_dim=128,
    max_position_embeddings=40960,
    max_window_layers=36,
    model_type="qwen3",
    rope_scaling=None,
    rope_theta=1000000,
    sliding_window=None,
    tie_word_embeddings=False,
    torch_dtype="bfloat16",
    vocab_size=151936,
)


def _gemma3(**text: Any) -> dict[str, Any]:
    return dict(
        architectures=["Gemma3ForConditionalGeneration"],
        boi_token_index=255999,
        eoi_token_index=256000,
        eos_token_id=[1, 106],
        image_token_index=262144,
        initializer_range=0.02,
        mm_tokens_per_image=256,
        model_type="gemma3",
        text_config=dict(
            model_type="gemma3_text",
            rope_scaling={"factor": 8.0, "rope_type": "linear"},
            sliding_window=1024,
            **text,
        ),
        torch_dtype="bfloat16",
        vision_config=_siglip(27, 896),
    )


def _smolvlm(model_type: str, vision_type: str, text: dict[str, Any], **more: Any) -> dict[str, Any]:
    return dict(
        image_token_id=49190,
        model_type=model_type,
        scale_factor=4,
        text_config=dict(
            _flash_attn_2_enabled=True,
            architectures=["VLlama3ForCausalLM"],
            head_dim=64,
            is_llama_config=True,
            max_position_embeddings=8192,
            model_type="llama",
            neftune_noise_alpha=0.0,
            pad_token_id=2,
            perceiver_config=dict(model_type="vllama3", qk_layer_norms_perceiver=False, resampler_depth=6),
            pixel_shuffle_factor=4,
            qk_layer_norms=False,
            rms_norm_eps=1e-05,
            rope_interleaved=False,
            rope_scaling=None,
            rope_theta=100000,
            use_resampler=False,
            vocab_size=49280,
            **text,
        ),
        tie_word_embeddings=False,
        torch_dtype="bfloat16",
        vision_config=dict(
            hidden_size=768,
            image_size=512,
            intermediate_size=3072,
            max_image_size={"longest_edge": 512},
            model_type=vision_type,
            num_attention_heads=12,
            patch_size=16,
            size={"longest_edge": 2048},
            tie_word_embeddings=False,
            use_base_siglip=False,
        ),
        vocab_size=49280,
    ) | dict(more)


SMOLLM_135M = dict(
    hidden_size=576, intermediate_size=1536, num_attention_heads=9, num_hidden_layers=30, num_key_value_heads=3
)
SMOLLM_360M = dict(
    hidden_size=960, intermediate_size=2560, num_attention_heads=15, num_hidden_layers=32, num_key_value_heads=5
)

CONFIGS: dict[str, dict[str, Any]] = {
    "llava-hf/llava-1.5-7b-hf": _llava("llava", VICUNA, pad_token_id=32001),
    "llava-hf/llava-1.5-13b-hf": _llava("llava", VICUNA_13B, pad_token_id=32001),
    "llava-hf/llava-v1.6-mistral-7b-hf": _llava("llava_next", MISTRAL_V2, **NEXT),
    "llava-hf/llava-v1.6-vicuna-7b-hf": _llava("llava_next", VICUNA | dict(pad_token_id=0), **NEXT),
    "llava-hf/llama3-llava-next-8b-hf": _llava(
        "llava_next", LLAMA3_8B | dict(vocab_size=128320), **NEXT, image_token_index=128256, vocab_size=128320
    ),
    "llava-hf/llava-onevision-qwen2-0.5b-ov-hf": _onevision(
        True,
        hidden_size=896,
        intermediate_size=4864,
        max_position_embeddings=32768,
        max_window_layers=24,
        num_attention_heads=14,
        num_hidden_layers=24,
        num_key_value_heads=2,
        rope_theta=1000000.0,
        sliding_window=32768,
        tie_word_embeddings=True,
        vocab_size=152000,
    ),
    "llava-hf/llava-onevision-qwen2-7b-ov-hf": _onevision(
        False,
        hidden_size=3584,
        intermediate_size=18944,
        max_position_embeddings=32768,
        max_window_layers=28,
        num_attention_heads=28,
        num_hidden_layers=28,
        num_key_value_heads=4,
        rope_theta=1000000.0,
        sliding_window=131072,
        vocab_size=152128,
    ),
    "Qwen/Qwen2-VL-2B-Instruct": _qwen2_vl(_qwen_text(1536, 8960, 28, 12, 2), True, 151936),
    "Qwen/Qwen2-VL-7B-Instruct": _qwen2_vl(_qwen_text(3584, 18944, 28, 28, 4), False, 152064),
    "Qwen/Qwen2.5-VL-3B-Instruct": _qwen2_5_vl(_qwen_text(2048, 11008, 36, 16, 2), True, 151936, 3420, 70),
    "Qwen/Qwen2.5-VL-7B-Instruct": _qwen2_5_vl(_qwen_text(3584, 18944, 28, 28, 4), False, 152064, 3420, 28),
    "Qwen/Qwen2.5-VL-72B-Instruct": _qwen2_5_vl(_qwen_text(8192, 29568, 80, 64, 8), False, 152064, 3456, 80),
    "Qwen/Qwen3-VL-4B-Instruct": _qwen3_vl(
        2560, 9728, True, depth=24, hidden_size=1024, intermediate_size=4096, deepstack_visual_indexes=[5, 11, 17]
    ),
    "Qwen/Qwen3-VL-8B-Instruct": _qwen3_vl(
        4096, 12288, False, depth=27, hidden_size=1152, intermediate_size=4304, deepstack_visual_indexes=[8, 16, 24]
    ),
    "OpenGVLab/InternVL3-1B-hf": _internvl(_qwen_text(896, 4864, 24, 14, 2, **INTERNVL3_TEXT), INTERNVIT_300M, 151667),
    "OpenGVLab/InternVL3-2B-hf": _internvl(
        _qwen_text(1536, 8960, 28, 12, 2, **INTERNVL3_TEXT), INTERNVIT_300M, 151667
    ),
    "OpenGVLab/InternVL3-8B-hf": _internvl(
        _qwen_text(3584, 18944, 28, 28, 4, **INTERNVL3_TEXT), INTERNVIT_300M, 151667
    ),
    "OpenGVLab/InternVL3-38B-hf": _internvl(
        _qwen_text(5120, 27648, 64, 40, 8, **INTERNVL3_TEXT), INTERNVIT_6B, 151667
    ),
    "OpenGVLab/InternVL3_5-8B-HF": _internvl(
        _qwen_text(4096, 12288, 36, 32, 8, **INTERNVL35_TEXT), INTERNVIT_300M, 151671
    ),
    "google/gemma-3-4b-it": _gemma3(hidden_size=2560, intermediate_size=10240, num_hidden_layers=34),
    "google/gemma-3-27b-it": _gemma3(
        head_dim=128,
        hidden_size=5376,
        intermediate_size=21504,
        num_attention_heads=32,
        num_hidden_layers=62,
        num_key_value_heads=16,
        query_pre_attn_scalar=168,
    ),
    "Qwen/Qwen2-Audio-7B-Instruct": dict(
        architectures=["Qwen2AudioForConditionalGeneration"],
        audio_config=dict(
            model_type="qwen2_audio_encoder",
            num_mel_bins=128,
            encoder_layers=32,
            encoder_attention_heads=20,
            encoder_ffn_dim=5120,
            encoder_layerdrop=0.0,
            d_model=1280,
            dropout=0.0,
            attention_dropout=0.0,
            activation_function="gelu",
            activation_dropout=0.0,
            scale_embedding=False,
            init_std=0.02,
            max_source_positions=1500,
        ),
        audio_token_index=151646,
        ignore_index=-100,
        model_type="qwen2_audio",
        text_config=dict(
            bos_token_id=151643,
            eos_token_id=151645,
            intermediate_size=11008,
            max_position_embeddings=8192,
            model_type="qwen2",
            rms_norm_eps=1e-05,
            rope_theta=10000,
            sliding_window=32768,
            torch_dtype="bfloat16",
            use_mrope=False,
            vocab_size=156032,
        ),
        torch_dtype="bfloat16",
        vocab_size=156032,
    ),
    "HuggingFaceTB/SmolVLM-256M-Instruct": _smolvlm("idefics3", "idefics3", SMOLLM_135M),
    "HuggingFaceTB/SmolVLM-500M-Instruct": _smolvlm("idefics3", "idefics3", SMOLLM_360M),
    "HuggingFaceTB/SmolVLM2-500M-Video-Instruct": _smolvlm("smolvlm", "smolvlm_vision", SMOLLM_360M),
    "HuggingFaceM4/Idefics3-8B-Llama3": dict(
        architectures=["Idefics3ForConditionalGeneration"],
        image_token_id=128257,
        model_type="idefics3",
        scale_factor=2,
        text_config=dict(
            architectures=["VLlama3ForCausalLM"],
            bos_token_id=128000,
            eos_token_id=128001,
            intermediate_size=14336,
            is_llama_config=True,
            max_position_embeddings=10240,
            model_type="llama",
            num_key_value_heads=8,
            pad_token_id=128002,
            rms_norm_eps=1e-05,
            rope_theta=500000.0,
            vocab_size=128259,
        ),
        torch_dtype="bfloat16",
        vision_config=dict(
            hidden_size=1152,
            image_size=364,
            intermediate_size=4304,
            model_type="idefics3",
            num_attention_heads=16,
            num_hidden_layers=27,
            patch_size=14,
        ),
    ),
    "Qwen/Qwen2.5-7B-Instruct": dict(
        _qwen_text(3584, 18944, 28, 28, 4),
        architectures=["Qwen2ForCausalLM"],
        max_position_embeddings=32768,
        max_window_layers=28,
        model_type="qwen2",
        rope_theta=1000000.0,
        sliding_window=131072,
        tie_word_embeddings=False,
        vocab_size=152064,
    ),
    "Qwen/Qwen2.5-0.5B-Instruct": dict(
        _qwen_text(896, 4864, 24, 14, 2),
        architectures=["Qwen2ForCausalLM"],
        max_position_embeddings=32768,
        max_window_layers=21,
        model_type="qwen2",
        rope_theta=1000000.0,
        sliding_window=32768,
        tie_word_embeddings=True,
        vocab_size=151936,
    ),
    "Qwen/Qwen3-8B": dict(
        _qwen_text(4096, 12288, 36, 32, 8),
        architectures=["Qwen3ForCausalLM"],
        attention_bias=False,
        head_dim=128,
        max_position_embeddings=40960,
        max_window_layers=36,
        model_type="qwen3",
        rope_scaling=None,
        rope_theta=1000000,
        sliding_window=None,
        tie_word_embeddings=False,
        vocab_size=151936,
    ),
    "meta-llama/Llama-3.1-8B-Instruct": LLAMA3_8B
    | dict(
        max_position_embeddings=131072,
        rope_scaling={
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
            "rope_type": "llama3",
        },
        mlp_bias=False,
        eos_token_id=[128001, 128008, 128009],
    ),
    "meta-llama/Llama-3.2-1B-Instruct": LLAMA3_8B
    | dict(
        head_dim=64,
        hidden_size=2048,
        intermediate_size=8192,
        max_position_embeddings=131072,
        num_hidden_layers=16,
        rope_scaling={
            "factor": 32.0,
            "high_freq_factor": 4.0,
            "low_freq_factor": 1.0,
            "original_max_position_embeddings": 8192,
            "rope_type": "llama3",
        },
        mlp_bias=False,
        tie_word_embeddings=True,
    ),
    "lmsys/vicuna-7b-v1.5": dict(
        architectures=["LlamaForCausalLM"],
        hidden_act="silu",
        hidden_size=4096,
        intermediate_size=11008,
        max_position_embeddings=4096,
        model_type="llama",
        num_attention_heads=32,
        num_hidden_layers=32,
        num_key_value_heads=32,
        pad_token_id=0,
        pretraining_tp=1,
        rms_norm_eps=1e-05,
        rope_scaling=None,
        tie_word_embeddings=False,
        vocab_size=32000,
    ),
    "mistralai/Mistral-7B-v0.1": dict(
        architectures=["MistralForCausalLM"],
        hidden_act="silu",
        hidden_size=4096,
        intermediate_size=14336,
        max_position_embeddings=32768,
        model_type="mistral",
        num_attention_heads=32,
        num_hidden_layers=32,
        num_key_value_heads=8,
        rms_norm_eps=1e-05,
        rope_theta=10000.0,
        sliding_window=4096,
        tie_word_embeddings=False,
        vocab_size=32000,
    ),
    "mistralai/Mistral-7B-v0.3": dict(
        architectures=["MistralForCausalLM"],
        hidden_act="silu",
        hidden_size=4096,
        intermediate_size=14336,
        max_position_embeddings=32768,
        model_type="mistral",
        num_attention_heads=32,
        num_hidden_layers=32,
        num_key_value_heads=8,
        rms_norm_eps=1e-05,
        rope_theta=1000000.0,
        sliding_window=None,
        tie_word_embeddings=False,
        vocab_size=32768,
    ),
    "google/gemma-3-1b-it": dict(
        architectures=["Gemma3ForCausalLM"],
        attention_bias=False,
        attn_logit_softcapping=None,
        cache_implementation="hybrid",
        final_logit_softcapping=None,
        head_dim=256,
        hidden_activation="gelu_pytorch_tanh",
        hidden_size=1152,
        intermediate_size=6912,
        max_position_embeddings=32768,
        model_type="gemma3_text",
        num_attention_heads=4,
        num_hidden_layers=26,
        num_key_value_heads=1,
        query_pre_attn_scalar=256,
        rms_norm_eps=1e-06,
        rope_local_base_freq=10000,
        rope_scaling=None,
        rope_theta=1000000,
        sliding_window=512,
        sliding_window_pattern=6,
        vocab_size=262144,
    ),
}
