"""Qwen2-VL, Qwen2.5-VL and Qwen3-VL: pictures of their own sizes, several in a prompt, and videos."""

from pathlib import Path

import numpy as np
import pytest

from tests.models.families.parity import LLAMA, Parity, Row, picture, transformers

pytestmark = pytest.mark.parity

IMAGE, VIDEO = 301, 302
TOKENS = dict(image_token_id=IMAGE, video_token_id=VIDEO, vision_start_token_id=303, vision_end_token_id=304)


class QwenVL(Parity):
    specials = {"<|image_pad|>": IMAGE, "<|video_pad|>": VIDEO, "<|vision_start|>": 303, "<|vision_end|>": 304}
    patch = 14
    prompt_length = 96

    @classmethod
    def prepare(cls, folder: Path) -> None:
        side = (2 * cls.patch) ** 2
        cls.image_processor = transformers.Qwen2VLImageProcessorPil(
            patch_size=cls.patch, min_pixels=2 * side, max_pixels=24 * side
        )
        cls.image_processor.save_pretrained(folder)

    @classmethod
    def their_media(cls, folder, rows, ids) -> dict:
        kinds = np.zeros_like(ids)
        kinds[ids == IMAGE], kinds[ids == VIDEO] = 1, 2
        found = {"mm_token_type_ids": kinds}
        if images := [image for row in rows for image in row.images]:
            made = cls.image_processor(images, return_tensors="np")
            found |= {"pixel_values": made["pixel_values"], "image_grid_thw": made["image_grid_thw"]}
        # Their processor of videos needs torchvision; tests/data/processors compares ours with the published rules.
        if videos := [video for row in rows for video in row.videos]:
            cut = [cls.processor(folder)._cut_video(video) for video in videos]
            found |= {
                "pixel_values_videos": np.concatenate([pixels for pixels, _ in cut]),
                "video_grid_thw": np.array([grid for _, grid in cut]),
            }
        return found


def video(frames: int, height: int, width: int) -> list[np.ndarray]:
    return [picture(height, width, seed) for seed in range(frames)]


ROWS = (
    Row(images=[picture(60, 100), picture(84, 56, 1)]),
    Row(),
    Row(images=[picture(140, 40, 2)]),
    Row(videos=[video(3, 60, 90)]),
    Row(images=[picture(57, 57, 3)], videos=[video(2, 80, 60)]),
)


class TestQwen2VL(QwenVL):
    rows = ROWS

    @classmethod
    def model(cls):
        vision = dict(depth=2, embed_dim=32, hidden_size=64, num_heads=4, mlp_ratio=2, patch_size=14)
        rope = dict(rope_type="default", mrope_section=[2, 3, 3], rope_theta=1e4)
        text = dict(**LLAMA, rope_parameters=rope)
        config = transformers.Qwen2VLConfig(vision_config=vision, text_config=text, **TOKENS)
        return transformers.Qwen2VLForConditionalGeneration(config)


class TestQwen2_5_VL(QwenVL):  # noqa: N801
    meshes = True
    rows = ROWS
    gradients = True

    @classmethod
    def model(cls):
        vision = dict(
            depth=3,
            hidden_size=32,
            intermediate_size=64,
            out_hidden_size=64,
            num_heads=4,
            patch_size=14,
            window_size=56,
            fullatt_block_indexes=[1],
            tokens_per_second=2,
        )
        rope = dict(rope_type="default", mrope_section=[2, 3, 3], rope_theta=1e4)
        text = dict(**LLAMA, rope_parameters=rope)
        config = transformers.Qwen2_5_VLConfig(vision_config=vision, text_config=text, **TOKENS)
        return transformers.Qwen2_5_VLForConditionalGeneration(config)


class TestQwen3VL(QwenVL):
    meshes = True
    rows = ROWS
    patch = 16

    @classmethod
    def model(cls):
        vision = dict(
            depth=3,
            hidden_size=32,
            intermediate_size=64,
            out_hidden_size=64,
            num_heads=4,
            patch_size=16,
            num_position_embeddings=16,
            deepstack_visual_indexes=[0, 1],
        )
        rope = dict(rope_type="default", mrope_section=[4, 2, 2], mrope_interleaved=True, rope_theta=1e4)
        text = dict(**LLAMA, head_dim=16, rope_parameters=rope)
        config = transformers.Qwen3VLConfig(vision_config=vision, text_config=text, **TOKENS)
        return transformers.Qwen3VLForConditionalGeneration(config)
