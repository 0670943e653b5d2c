"""CLIP without an oracle: sizes, places, and what it cannot do. clip_parity_test.py compares it with transformers."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AbstractMesh, NamedSharding

from align_jax import sharding
from align_jax.models import clip, families, kinds
from align_jax.models.clip import ClipConfig

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def sizes() -> ClipConfig:
    """Of ViT-B/32, which are transformers' defaults."""
    return families.build(transformers.CLIPConfig().to_dict()).sizes


def test_as_many_parameters_as_published_each_with_one_rule(sizes):
    shapes, mesh = kinds.of(sizes).param_shapes(sizes), AbstractMesh((2, 2, 2), sharding.AXES)
    assert sum(math.prod(x.shape) for x in jax.tree.leaves(shapes)) == 151_277_313  # as OpenAI's notebook prints
    specs = sharding.match(shapes, kinds.of(sizes).rules(sizes), mesh)
    jax.tree.map(lambda x, spec: NamedSharding(mesh, spec).shard_shape(x.shape), shapes, specs)


def shape_of(sizes: ClipConfig, function, **changes):
    """Of what a function of the policy gives for the smallest tree, changed; nothing is computed."""
    tree = dataclasses.replace(clip.blank(sizes), **changes)
    return jax.eval_shape(function, clip.param_shapes(sizes), tree)


def test_scores_are_float32_whatever_the_towers_compute_in(sizes):
    sizes = sizes.computing(dtype="bfloat16", remat=True)
    assert sizes.vision.dtype == sizes.text.dtype == "bfloat16" and sizes.vision.remat and sizes.text.remat
    scores = shape_of(sizes, clip.build(sizes).score)
    assert scores.logps.dtype == scores.mask.dtype == jnp.float32 and scores.logps.shape == (1, 1, 1)


def test_what_it_cannot_do_is_said(sizes):
    policy, blank = clip.build(sizes), clip.blank(sizes)
    with pytest.raises(TypeError, match="writes none"):
        shape_of(sizes, policy.hidden)
    two = dataclasses.replace(blank.media, pixels=jnp.repeat(blank.media.pixels, 2, axis=1))
    with pytest.raises(ValueError, match="one picture, not 2"):
        shape_of(sizes, policy.score, media=two)
    longer = functools.partial(jnp.pad, pad_width=[(0, 0), (0, 0), (0, 76)])
    fields = {name: longer(vars(blank)[name]) for name in ("tokens", "targets", "mask")}
    with pytest.raises(ValueError, match="77 tokens, not 78"):
        shape_of(sizes, policy.score, **fields)
