"""LLaVA-1.5, LLaVA-NeXT and LLaVA-OneVision."""

from pathlib import Path

import numpy as np
import pytest

from tests.models.families.parity import LLAMA, Parity, Row, picture, transformers

pytestmark = pytest.mark.parity

CLIP = dict(
    model_type="clip_vision_model",
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=3,
    num_attention_heads=4,
    image_size=28,
    patch_size=14,
    projection_dim=32,
)
SIGLIP = dict(CLIP, model_type="siglip_vision_model", vision_use_head=False)
SIZES = dict(size=dict(height=28, width=28), crop_size=dict(height=28, width=28))
GRIDS = [[28, 56], [56, 28], [56, 56], [84, 28]]


class TestLlava(Parity):
    specials = {"<image>": 300}
    rows = (Row(images=[picture(40, 60)]), Row(images=[picture(28, 28, 1), picture(80, 30, 2)]), Row())
    gradients = True

    @classmethod
    def model(cls):
        text = dict(model_type="llama", **LLAMA)
        config = transformers.LlavaConfig(vision_config=CLIP, text_config=text, image_token_index=300)
        return transformers.LlavaForConditionalGeneration(config)

    @classmethod
    def prepare(cls, folder: Path) -> None:
        cls.image_processor = transformers.CLIPImageProcessorPil(size=dict(shortest_edge=28), crop_size=28)
        cls.image_processor.save_pretrained(folder)

    @classmethod
    def their_media(cls, folder, rows, ids) -> dict:
        images = [image for row in rows for image in row.images]
        return dict(cls.image_processor(images, return_tensors="np")) if images else {}


class TestLlavaMistral(TestLlava):
    gradients = False

    @classmethod
    def model(cls):
        text = dict(model_type="mistral", **LLAMA, sliding_window=None)
        config = transformers.LlavaConfig(vision_config=CLIP, text_config=text, image_token_index=300)
        return transformers.LlavaForConditionalGeneration(config)


class TestLlavaNext(TestLlava):
    """Wide, high and square pictures: grids of tiles, unpadded, with ends of lines."""

    meshes = True
    rows = (Row(images=[picture(40, 90)]), Row(images=[picture(28, 28, 1), picture(80, 30, 2)]), Row())
    gradients = False
    prompt_length = 96

    @classmethod
    def model(cls):
        text = dict(model_type="llama", **LLAMA)
        config = transformers.LlavaNextConfig(
            vision_config=CLIP, text_config=text, image_token_index=300, image_grid_pinpoints=GRIDS
        )
        return transformers.LlavaNextForConditionalGeneration(config)

    @classmethod
    def prepare(cls, folder: Path) -> None:
        cls.image_processor = transformers.LlavaNextImageProcessorPil(
            size=dict(shortest_edge=28), crop_size=28, image_grid_pinpoints=GRIDS
        )
        cls.image_processor.save_pretrained(folder)


class TestLlavaOnevision(TestLlavaNext):
    """A single picture in tiles, several without, and videos."""

    specials = {"<image>": 300, "<video>": 301}
    rows = (
        Row(images=[picture(40, 90)]),
        Row(images=[picture(28, 28, 1), picture(80, 30, 2)]),
        Row(),
        Row(videos=[[picture(30, 50, 3), picture(30, 50, 4), picture(30, 50, 5)]]),
    )
    prompt_length = 128

    @classmethod
    def model(cls):
        vision = dict(SIGLIP, image_size=42)
        config = transformers.LlavaOnevisionConfig(
            vision_config=vision,
            text_config=dict(model_type="qwen2", **LLAMA),
            image_token_index=300,
            video_token_index=301,
            image_grid_pinpoints=[[42, 84], [84, 42], [84, 84], [84, 126]],
            # So that a grid of four tiles is scaled down already.
            vision_aspect_ratio="anyres_max_1",
        )
        return transformers.LlavaOnevisionForConditionalGeneration(config)

    @classmethod
    def prepare(cls, folder: Path) -> None:
        cls.image_processor = transformers.LlavaOnevisionImageProcessorPil(
            size=dict(height=42, width=42), image_grid_pinpoints=[[42, 84], [84, 42], [84, 84], [84, 126]]
        )
        cls.image_processor.save_pretrained(folder)

    @classmethod
    def their_media(cls, folder, rows, ids) -> dict:
        made = {}
        if images := [list(row.images) for row in rows if row.images]:
            made = dict(cls.image_processor(images, return_tensors="np"))
        # Their processor of videos needs torchvision: frames are resized as pictures are.
        if videos := [video for row in rows for video in row.videos]:
            frames = cls.processor(folder)
            made["pixel_values_videos"] = np.stack([_channels_first(frames, video) for video in videos])
        return made


def _channels_first(processor, video) -> np.ndarray:
    (shown,) = processor.videos([video])
    return shown.media.pixels.transpose(0, 3, 1, 2)
