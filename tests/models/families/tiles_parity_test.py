"""InternVL, Gemma 3, Idefics3 and SmolVLM: towers of one size, each with its own way to gather features."""

from pathlib import Path

import numpy as np
import pytest

from tests.models.families.llava_parity_test import SIGLIP
from tests.models.families.parity import LLAMA, Parity, Row, picture, transformers

pytestmark = pytest.mark.parity


class TestInternVL(Parity):
    meshes = True
    specials = {"<img>": 303, "<IMG_CONTEXT>": 300, "</img>": 304}
    rows = (
        Row(images=[picture(40, 90)]),
        Row(images=[picture(56, 56, 1), picture(120, 50, 2)]),
        Row(),
        Row(videos=[[picture(50, 60, 3), picture(50, 60, 4)]]),
    )
    prompt_length = 96
    vision: dict = {}

    @classmethod
    def model(cls):
        vision = dict(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            image_size=[56, 56],
            patch_size=[14, 14],
        )
        config = transformers.InternVLConfig(
            vision_config=vision | cls.vision,
            text_config=dict(model_type="qwen2", **LLAMA),
            image_token_id=300,
            tie_word_embeddings=False,
        )
        return transformers.InternVLForConditionalGeneration(config)

    @classmethod
    def prepare(cls, folder: Path) -> None:
        cls.image_processor = transformers.GotOcr2ImageProcessorPil(
            size=dict(height=56, width=56), min_patches=1, max_patches=3
        )
        cls.image_processor.save_pretrained(folder)

    @classmethod
    def their_media(cls, folder, rows, ids) -> dict:
        tiles = []
        for row in rows:
            for shown, crop in ((row.images, True), *((video, False) for video in row.videos)):
                made = cls.image_processor(list(shown), crop_to_patches=crop, return_tensors="np") if shown else {}
                tiles += list(made.get("pixel_values", ()))
        return {"pixel_values": np.stack(tiles)} if tiles else {}


class TestInternVLOfTheLargerTower(TestInternVL):
    """InternViT-6B has norms on queries and keys, RMSNorm and no biases."""

    vision = dict(use_qk_norm=True, norm_type="rms_norm", attention_bias=False)


class TestGemma3(Parity):
    meshes = True
    specials = {"<start_of_image>": 303, "<image_soft_token>": 300, "<end_of_image>": 304}
    rows = (Row(images=[picture(40, 60)]), Row(images=[picture(28, 28, 1), picture(80, 30, 2)]), Row())
    # Of embeddings that are the head too: they repeat what was said unless they are small.
    embeddings = 0.02
    logits_std = (0.1, 3.0)

    @classmethod
    def model(cls):
        text = dict(LLAMA, num_hidden_layers=3, head_dim=16, sliding_window=6, query_pre_attn_scalar=8)
        text["layer_types"] = ["sliding_attention", "full_attention", "sliding_attention"]
        text["rope_parameters"] = dict(
            sliding_attention=dict(rope_type="default", rope_theta=100.0),
            full_attention=dict(rope_type="linear", factor=8.0, rope_theta=1000.0),
        )
        config = transformers.Gemma3Config(
            vision_config=dict(SIGLIP, image_size=56),
            text_config=text,
            mm_tokens_per_image=4,
            image_token_index=300,
            boi_token_index=303,
            eoi_token_index=304,
        )
        return transformers.Gemma3ForConditionalGeneration(config)

    @classmethod
    def prepare(cls, folder: Path) -> None:
        cls.image_processor = transformers.Gemma3ImageProcessorPil(size=dict(height=56, width=56))
        cls.image_processor.save_pretrained(folder)

    @classmethod
    def their_media(cls, folder, rows, ids) -> dict:
        found = {"token_type_ids": (ids == 300).astype(int)}
        if images := [image for row in rows for image in row.images]:
            found["pixel_values"] = cls.image_processor(images, return_tensors="np")["pixel_values"]
        return found


class TestIdefics3(Parity):
    specials = {"<fake_token_around_image>": 303, "<global-img>": 304, "<image>": 300}
    rows = (Row(images=[picture(40, 90)]), Row(images=[picture(56, 56, 1), picture(120, 50, 2)]), Row())
    prompt_length = 160

    @classmethod
    def model(cls):
        vision = dict(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            image_size=56,
            patch_size=14,
        )
        text = dict(model_type="llama", **LLAMA)
        kinds = {
            "idefics3": (transformers.Idefics3Config, transformers.Idefics3ForConditionalGeneration),
            "smolvlm": (transformers.SmolVLMConfig, transformers.SmolVLMForConditionalGeneration),
        }
        config, model = kinds[cls.model_type]
        return model(config(vision_config=vision, text_config=text, image_token_id=300, scale_factor=2))

    model_type = "idefics3"

    @classmethod
    def prepare(cls, folder: Path) -> None:
        kinds = {"idefics3": transformers.Idefics3ImageProcessorPil, "smolvlm": transformers.SmolVLMImageProcessorPil}
        cls.image_processor = kinds[cls.model_type](size=dict(longest_edge=112), max_image_size=dict(longest_edge=56))
        cls.image_processor.save_pretrained(folder)

    @classmethod
    def their_media(cls, folder, rows, ids) -> dict:
        images = [list(row.images) for row in rows if row.images]
        return dict(cls.image_processor(images, return_tensors="np")) if images else {}


class TestSmolVLM(TestIdefics3):
    model_type = "smolvlm"
