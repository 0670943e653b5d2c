"""The published sizes: as many parameters as the model pages say, from the real configs."""

import json
import math

import jax
import pytest
from jax.sharding import AbstractMesh, NamedSharding

from align_jax import sharding
from align_jax.models import architecture, families, mllm
from tests.models.families.published_configs import CONFIGS

pytest.importorskip("transformers")

# Figures of model pages. Those of LLaVA-1.5-7B, Qwen2.5-VL-3B and 7B, and Gemma 3 are confirmed by public code that
# quotes them; the others are from memory. LLaVA-OneVision 0.5B is missing: no figure was at hand.
# published_configs_test.py compares all of them with transformers.
PUBLISHED = {
    "llava-hf/llava-1.5-7b-hf": 7_063_427_072,
    # The figure fits the authors' own, of 32,000 tokens; transformers' form has 64 more in embeddings and head. The
    # next likewise, with 152,064.
    "llava-hf/llava-1.5-13b-hf": 13_350_839_296 + 2 * 64 * 5120,
    "llava-hf/llava-onevision-qwen2-7b-ov-hf": 8_030_348_832 + 2 * 64 * 3584,
    "Qwen/Qwen2.5-VL-3B-Instruct": 3_754_622_976,
    "Qwen/Qwen2.5-VL-7B-Instruct": 8_292_166_656,
    "Qwen/Qwen2.5-VL-72B-Instruct": 73_410_777_344,
    "OpenGVLab/InternVL3-8B-hf": 7_944_373_760,
    "google/gemma-3-4b-it": 4_300_079_472,
    "google/gemma-3-27b-it": 27_432_406_640,
    "Qwen/Qwen2-Audio-7B-Instruct": 8_397_094_912,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_number_of_parameters_and_their_rules(name, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIGS[name]), encoding="utf-8")
    hf = architecture.read_config(tmp_path)
    if "InternVL3" in name:
        hf["tie_word_embeddings"] = False  # as its files say, which decide
    sizes = families.build(hf).sizes
    shapes = mllm.param_shapes(sizes)
    assert sum(math.prod(x.shape) for x in jax.tree.leaves(shapes)) == PUBLISHED[name]
    specs, mesh = sharding.match(shapes, mllm.rules(sizes)), AbstractMesh((2, 2, 2), sharding.AXES)
    jax.tree.map(lambda x, spec: NamedSharding(mesh, spec).shard_shape(x.shape), shapes, specs)  # raises if it cannot
