"""Checkpoints of trainers that store what is in memory, under the names of the modules."""

import json

import pytest

from align_jax.models import architecture, families
from tests.models.families.published_configs import CONFIGS

pytest.importorskip("transformers")
# Names as they stand in index files: by transformers from 4.52 on without `save_pretrained`, and by 4.56 or older.
SPELLINGS = {
    "llava-hf/llava-1.5-7b-hf": {
        "language_model.model.layers.0.mlp.up_proj.weight": "model.language_model.layers.0.mlp.up_proj.weight",
        "language_model.lm_head.weight": "lm_head.weight",
        "vision_tower.pre_layrnorm.bias": "model.vision_tower.vision_model.pre_layrnorm.bias",
        "multi_modal_projector.linear_1.bias": "model.multi_modal_projector.linear_1.bias",
    },
    "llava-hf/llava-v1.6-mistral-7b-hf": {"image_newline": "model.image_newline"},
    "Qwen/Qwen2-VL-2B-Instruct": {
        "model.layers.0.mlp.up_proj.weight": "model.language_model.layers.0.mlp.up_proj.weight",
        "visual.blocks.0.norm1.bias": "model.visual.blocks.0.norm1.bias",
        "lm_head.weight": "lm_head.weight",
    },
    "Qwen/Qwen2.5-VL-3B-Instruct": {"visual.merger.ln_q.weight": "model.visual.merger.ln_q.weight"},
    "google/gemma-3-4b-it": {
        "vision_tower.post_layernorm.bias": "vision_tower.vision_model.post_layernorm.bias",
        "language_model.model.norm.weight": "model.language_model.norm.weight",
    },
    "Qwen/Qwen2-Audio-7B-Instruct": {"audio_tower.conv1.bias": "model.audio_tower.conv1.bias"},
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_names_of_modules_are_known(name, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIGS[name]), encoding="utf-8")
    family = families.build(architecture.read_config(tmp_path))
    for written, stored in SPELLINGS[name].items():
        assert stored in family.spellings(written)
