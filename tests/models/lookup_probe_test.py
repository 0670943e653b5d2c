"""The lookup probe: "what is at the top left?" The decoder must find a token by its place, not by what it is.

Nothing ordered (several pictures, frames of a video) can be learned by a model that fails here. A scene is four tokens
of 24 classes after `<bos>`; the last token of the prompt names a place, and the answer is the class that stands there.
"""

import jax
import numpy as np
import pytest

from align_jax.losses import Objective
from align_jax.models import mllm
from align_jax.models.mllm import MLLMConfig
from align_jax.train import optimizer, state
from align_jax.train.step import make_update
from align_jax.types import CompletionBatch, PromptTree

PLACES = ("top left", "top right", "bottom left", "bottom right")
BOS, FIRST_PLACE, FIRST_CLASS, CLASSES = 1, 4, 8, 24
STEPS, ROWS = 100, 128

# The sizes of small_model() in configs/common.py, without its eyes.
DECODER = dict(vocab_size=64, dim=128, layers=2, heads=4, kv_heads=2, head_dim=32, mlp_dim=384, unroll=2)


def scenes(rng: np.random.Generator, rows: int) -> CompletionBatch:
    """Scenes with uniform classes, each with a question about a uniform place."""
    classes, place = rng.integers(0, CLASSES, (rows, len(PLACES))), rng.integers(0, len(PLACES), rows)
    prompt = np.concatenate([np.full((rows, 1), BOS), FIRST_CLASS + classes], axis=1).astype(np.int32)
    question = (FIRST_PLACE + place)[:, None, None].astype(np.int32)
    answer = (FIRST_CLASS + classes[np.arange(rows), place])[:, None, None].astype(np.int32)
    tree = PromptTree(
        prompt, np.ones(prompt.shape, np.float32), None, question, answer, np.ones(answer.shape, np.float32)
    )
    return CompletionBatch(tree, np.ones(rows, np.float32))


@pytest.mark.slow
def test_the_decoder_learns_to_look_up_a_place():
    policy, rng = mllm.build(MLLMConfig.from_dict({"decoder": DECODER})), np.random.default_rng(0)
    # The recipe of configs/sft.py in a shorter run. Chance is 1/24; naming any class of the scene gives about 1/4.
    tx, _ = optimizer.build(learning_rate=2e-3, steps=STEPS, weight_decay=0.01)
    update = jax.jit(make_update(policy, Objective.build({"name": "sft"}), tx), donate_argnums=0)
    current = state.create(jax.jit(policy.init)(jax.random.key(0), scenes(rng, 1).tree), tx)
    for _ in range(STEPS):
        current, _ = update(current, None, scenes(rng, ROWS))

    fresh = scenes(rng, 1024).tree
    logits = jax.jit(lambda params: policy.unembed(params, policy.hidden(params, fresh)))(current.params)
    assert np.mean(logits.argmax(-1) == fresh.targets) > 0.95
