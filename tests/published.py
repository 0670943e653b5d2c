"""Tiny checkpoints without weights: config, tokenizer, chat template and processor files, as they are published.

`make_inputs(folder, model_type)` writes them offline; a model of the returned config and they fit each other.
"""

import json
from pathlib import Path
from typing import Any

import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

TEXTS = (
    "What is it? Describe the red circle, please.",
    "A blue triangle on a table, and a cat.",
    "USER ASSISTANT model",
)
MEAN, STD = [0.48, 0.45, 0.4], [0.26, 0.27, 0.28]
TEXT = dict(  # of the decoder; what most families share
    hidden_size=64,
    intermediate_size=128,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=1024,
)
TOWER = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4)
SIGLIP = dict(TOWER, model_type="siglip_vision_model", patch_size=14, vision_use_head=False)
CHATML = ["<|im_start|>", "<|im_end|>"]
VISION = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
CELLS = [f"<row_{y}_col_{x}>" for y in range(1, 7) for x in range(1, 7)]
IDEFICS = ["<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>", "<|im_start|>", *CELLS]
NEXT_SIZES = [[28, 56], [56, 28], [56, 56], [84, 28], [28, 84]]
ONEVISION_SIZES = [[42 * y, 42 * x] for y in range(1, 7) for x in range(1, 7)]

SPECIAL = {  # special tokens besides <pad>, <s> and </s>
    "llava": ["<image>"],
    "llava_next": ["<image>"],
    "llava_onevision": [*CHATML, "<image>", "<video>"],
    "internvl": [*CHATML, "<img>", "</img>", "<IMG_CONTEXT>", "<video>"],
    "gemma3": ["<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<end_of_image>", "<image_soft_token>"],
    "idefics3": IDEFICS,
    "smolvlm": IDEFICS,
    "qwen2_audio": [*CHATML, "<|audio_bos|>", "<|AUDIO|>", "<|audio_eos|>"],
    "qwen2_vl": [*CHATML, *VISION],
    "qwen2_5_vl": [*CHATML, *VISION],
    "qwen3_vl": [*CHATML, *VISION],
    "llama": ["<|header|>", "<|eot_id|>"],
    "mistral": [],
    "qwen2": CHATML,
    "qwen3": CHATML,
    "gemma3_text": ["<start_of_turn>", "<end_of_turn>"],
}
ATTRIBUTES = {  # by which the processors of transformers know some of them
    "internvl": {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    },
    "gemma3": {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"},
}
WITH_BOS = ("llava", "llava_next", "gemma3", "gemma3_text", "llama", "mistral", "idefics3")  # their tokenizers add <s>


def _chatml(**written: str) -> str:
    """ChatML; for each kind of media, what is written for it."""
    rules = "".join(f"{{% elif item['type'] == '{kind}' %}}{{{{ {text!r} }}}}" for kind, text in written.items())
    return (
        "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
        "{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{% endif %}"
        "{{ '<|im_start|>' + message['role'] + '\n' }}{% if message['content'] is string %}{{ message['content'] }}"
        "{% else %}{% for item in message['content'] %}{% if item['type'] == 'text' %}{{ item['text'] }}"
        + rules
        + "{% endif %}{% endfor %}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )


_QWEN_VL = _chatml(
    image="<|vision_start|><|image_pad|><|vision_end|>", video="<|vision_start|><|video_pad|><|vision_end|>"
)
_GEMMA = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<start_of_turn>' + ('model' if message['role'] == 'assistant' else message['role']) + '\n' }}"
    "{% if message['content'] is string %}{{ message['content'] | trim }}{% else %}"
    "{% for item in message['content'] %}{% if item['type'] == 'image' %}{{ '<start_of_image>' }}"
    "{% elif item['type'] == 'text' %}"
    "{{ item['text'] | trim }}{% endif %}{% endfor %}{% endif %}{{ '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
_IDEFICS = (  # knows no videos, and takes no plain strings
    "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}"
    "{% if message['content'][0]['type'] == 'image' %}{{ ':' }}{% else %}{{ ': ' }}{% endif %}"
    "{% for item in message['content'] %}{% if item['type'] == 'text' %}{{ item['text'] }}"
    "{% elif item['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
_INSTRUCT = (  # takes plain strings only
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ '[INST] ' + message['content'] + ' [/INST]' }}{% else %}{{ ' ' + message['content'] + eos_token }}{% endif %}"
    "{% endfor %}"
)
TEMPLATES = {
    "llava": (  # pictures before words, and nothing behind an answer
        "{% for message in messages %}{{ message['role'].upper() + ': ' }}"
        "{% for item in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}{% endfor %}"
        "{% for item in message['content'] | selectattr('type', 'equalto', 'text') %}{{ item['text'] + ' ' }}"
        "{% endfor %}{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
    ),
    "llava_next": _INSTRUCT,
    "llava_onevision": _chatml(image="<image>\n", video="<video>\n"),
    "internvl": _chatml(image="<IMG_CONTEXT>\n", video="<video>\n"),
    "gemma3": _GEMMA,
    "idefics3": _IDEFICS,
    "smolvlm": _IDEFICS,
    "qwen2_audio": _chatml(audio="Audio: <|audio_bos|><|AUDIO|><|audio_eos|>\n"),
    "qwen2_vl": _QWEN_VL,
    "qwen2_5_vl": _QWEN_VL,
    "qwen3_vl": _QWEN_VL,
    "llama": (
        "{{ bos_token }}{% for message in messages %}{{ '<|header|>' + message['role'] + '\n\n' }}"
        "{{ message['content'] | trim + '<|eot_id|>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|header|>assistant\n\n' }}{% endif %}"
    ),
    "mistral": _INSTRUCT,
    "qwen2": _chatml(),
    "qwen3": _chatml(),
    "gemma3_text": _GEMMA,
}


def make_inputs(
    folder: str | Path, model_type: str, *, vocab_size: int = 0, template: bool = True
) -> transformers.PreTrainedConfig:
    """Writes config.json, tokenizer, chat template and processor files of a tiny checkpoint; returns its config.

    Args:
      folder: is made.
      model_type: a key of `SPECIAL`.
      vocab_size: of the config; 0: the tokenizer's, rounded up to a multiple of 64.
      template: whether to write a chat template at all.
    """
    folder = Path(folder)
    tokenizer = make_tokenizer(model_type)
    vocab_size = vocab_size or -(-len(tokenizer) // 64) * 64
    tokenizer.save_pretrained(folder)
    if template:
        (folder / "chat_template.jinja").write_text(TEMPLATES[model_type], encoding="utf-8")
    config = make_config(model_type, tokenizer, vocab_size)
    config.save_pretrained(folder)
    if processor := make_processor(model_type):
        processor.save_pretrained(folder)
    if model_type == "smolvlm":
        path = folder / "preprocessor_config.json"
        sampling = {"fps": 1, "max_frames": 64, "video_size": {"longest_edge": 56}}
        path.write_text(json.dumps({**json.loads(path.read_text()), "video_sampling": sampling}))
    return config


def make_tokenizer(model_type: str) -> transformers.PreTrainedTokenizerFast:
    """Byte-level BPE with the special tokens of a family."""
    special = ["<pad>", "<s>", "</s>", *SPECIAL[model_type]]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300 + len(special),
        special_tokens=special,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    if model_type in WITH_BOS:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
        )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        extra_special_tokens=ATTRIBUTES.get(model_type, {}),
    )


def make_config(model_type: str, tokenizer: Any, vocab_size: int) -> transformers.PreTrainedConfig:
    """Of a model with the smallest sizes that show what a family does."""
    special = dict(bos_token_id=1, eos_token_id=2, pad_token_id=0)
    text, ids = dict(TEXT, vocab_size=vocab_size, **special), tokenizer.convert_tokens_to_ids
    llama, qwen = dict(text, model_type="llama"), dict(text, model_type="qwen2")
    gemma = dict(
        text,
        head_dim=16,
        sliding_window=8,
        layer_types=["sliding_attention", "full_attention"],
        query_pre_attn_scalar=16,
    )
    clip = dict(TOWER, model_type="clip_vision_model", image_size=28, patch_size=14, projection_dim=32)
    if model_type in ("llava", "llava_next"):
        made = dict(vision_config=clip, text_config=llama, vision_feature_layer=-2, image_token_index=ids("<image>"))
        made |= dict(vision_feature_select_strategy="default")
        made |= dict(image_grid_pinpoints=NEXT_SIZES) if model_type == "llava_next" else {}
    elif model_type == "llava_onevision":
        made = dict(vision_config=dict(SIGLIP, image_size=42), text_config=qwen, image_grid_pinpoints=ONEVISION_SIZES)
        made |= dict(image_token_index=ids("<image>"), video_token_index=ids("<video>"), vision_feature_layer=-1)
        made |= dict(vision_feature_select_strategy="full", vision_aspect_ratio="anyres_max_9")
    elif model_type == "internvl":
        tower = dict(TOWER, model_type="internvl_vision", image_size=[56, 56], patch_size=[14, 14])
        made = dict(vision_config=tower, text_config=qwen, image_token_id=ids("<IMG_CONTEXT>"), downsample_ratio=0.5)
    elif model_type == "gemma3":
        made = dict(vision_config=dict(SIGLIP, image_size=56), text_config=gemma, mm_tokens_per_image=4)
        made |= dict(boi_token_index=ids("<start_of_image>"), eoi_token_index=ids("<end_of_image>"))
        made |= dict(image_token_index=ids("<image_soft_token>"))
    elif model_type in ("idefics3", "smolvlm"):
        tower = dict(TOWER, model_type=f"{model_type}_vision", image_size=56, patch_size=14)
        made = dict(vision_config=tower, text_config=llama, image_token_id=ids("<image>"), scale_factor=2)
        made |= dict(pad_token_id=0)
    elif model_type == "qwen2_audio":
        tower = dict(model_type="qwen2_audio_encoder", d_model=32, encoder_layers=2, encoder_attention_heads=4)
        tower |= dict(encoder_ffn_dim=64, num_mel_bins=16, max_source_positions=20)
        made = dict(audio_config=tower, text_config=qwen, audio_token_index=ids("<|AUDIO|>"))
    elif model_type in ("qwen2_vl", "qwen2_5_vl", "qwen3_vl"):
        made = _qwen_vl(model_type, text) | dict(
            image_token_id=ids("<|image_pad|>"),
            video_token_id=ids("<|video_pad|>"),
            vision_start_token_id=ids("<|vision_start|>"),
            vision_end_token_id=ids("<|vision_end|>"),
        )
    else:
        made = gemma if model_type == "gemma3_text" else text | (dict(head_dim=16) if model_type == "qwen3" else {})
    return transformers.AutoConfig.for_model(model_type, **made)


def _qwen_vl(model_type: str, text: dict[str, Any]) -> dict[str, Any]:
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]}
    if model_type == "qwen3_vl":
        tower = dict(depth=2, hidden_size=32, intermediate_size=64, num_heads=4, out_hidden_size=64, patch_size=16)
        tower |= dict(num_position_embeddings=16, deepstack_visual_indexes=[0])
        rope |= {"mrope_section": [4, 2, 2], "mrope_interleaved": True}
        return dict(vision_config=tower, text_config=dict(text, head_dim=16, rope_parameters=rope))
    tower = dict(depth=2, num_heads=4, patch_size=14, spatial_merge_size=2, temporal_patch_size=2)
    if model_type == "qwen2_vl":
        tower |= dict(embed_dim=32, hidden_size=64, mlp_ratio=2)
    else:
        tower |= dict(hidden_size=32, intermediate_size=64, out_hidden_size=64, window_size=56)
        tower |= dict(fullatt_block_indexes=[1], tokens_per_second=2)
    return dict(vision_config=tower, text_config=dict(text, rope_parameters=rope))


def make_processor(model_type: str) -> Any:
    """Image processor or feature extractor at the sizes of `make_config`; None for models that only read."""
    look = dict(image_mean=MEAN, image_std=STD)
    square = {"height": 28, "width": 28}
    if model_type == "llava":  # named so in most of the published files
        return transformers.CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size=square, **look)
    if model_type == "llava_next":
        sizes = dict(size={"shortest_edge": 28}, crop_size=square, image_grid_pinpoints=NEXT_SIZES)
        return transformers.LlavaNextImageProcessorPil(**sizes, **look)
    if model_type == "llava_onevision":
        sizes = dict(size={"height": 42, "width": 42}, image_grid_pinpoints=ONEVISION_SIZES)
        return transformers.LlavaOnevisionImageProcessorPil(**sizes, **look)
    if model_type == "internvl":
        return transformers.GotOcr2ImageProcessorPil(size={"height": 56, "width": 56}, max_patches=6, **look)
    if model_type == "gemma3":
        return transformers.Gemma3ImageProcessorPil(size={"height": 56, "width": 56}, **look)
    if model_type in ("idefics3", "smolvlm"):
        name = {"idefics3": "Idefics3ImageProcessorPil", "smolvlm": "SmolVLMImageProcessorPil"}[model_type]
        sizes = dict(size={"longest_edge": 4 * 56}, max_image_size={"longest_edge": 56})
        return getattr(transformers, name)(**sizes, **look)
    if model_type == "qwen2_audio":
        return transformers.WhisperFeatureExtractor(feature_size=16, hop_length=400, chunk_length=1)
    if model_type in ("qwen2_vl", "qwen2_5_vl", "qwen3_vl"):
        side = 16 if model_type == "qwen3_vl" else 14
        bounds = {"shortest_edge": 4 * side * side, "longest_edge": 36 * side * side}
        return transformers.Qwen2VLImageProcessorPil(size=bounds, patch_size=side, **look)
    return None
