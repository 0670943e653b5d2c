"""A model and batches that are small enough for tests, and shared so that each function compiles once."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from align_jax.models import mllm
from align_jax.types import Example, Prompt, PromptTree, Tiles

VOCAB, IMAGE_TOKEN, EOS = 40, 3, 2
CONFIG = mllm.MLLMConfig.from_dict(
    {
        "placeholders": (IMAGE_TOKEN,),
        "decoder": dict(vocab_size=VOCAB, dim=16, layers=2, heads=4, kv_heads=2, head_dim=8, mlp_dim=32),
        "vision": dict(image_size=8, patch_size=4, dim=16, layers=1, heads=2, mlp_dim=16),
        "projector": dict(dim=16, hidden_dim=16),
    }
)


def policy(config: mllm.MLLMConfig = CONFIG):
    return mllm.build(config)


@functools.cache
def params(seed: int = 0, config: mllm.MLLMConfig = CONFIG):
    """Every parameter random, so that no part is silent. Drawn by NumPy: each draw of JAX would be compiled."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(policy(config).init, jax.random.key(0), tree(1, 1))

    def draw(path, x):
        return jnp.asarray(0.2 * rng.normal(size=x.shape) + (path[-1].key == "scale"), jnp.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def tree(rows: int = 3, completions: int = 2, seed: int = 0, length: int = 6) -> PromptTree:
    """Ragged prompts, with padding on either side, each with one picture; ragged completions."""
    rng = np.random.default_rng(seed)
    P = 9
    prompt = rng.integers(5, VOCAB, (rows, P))
    prompt_mask = np.ones((rows, P), np.float32)
    prompt[:, 2:6] = IMAGE_TOKEN
    if rows > 1:
        prompt_mask[1, 7:] = 0
    if rows > 2:
        prompt_mask[2, :2] = 0
    lengths = rng.integers(1, length + 1, (rows, completions, 1))
    return PromptTree(
        prompt=jnp.asarray(prompt, jnp.int32),
        prompt_mask=jnp.asarray(prompt_mask),
        media=Tiles(jnp.asarray(rng.normal(size=(rows, 1, 8, 8, 3)), jnp.float32)),
        tokens=jnp.asarray(rng.integers(5, VOCAB, (rows, completions, length)), jnp.int32),
        targets=jnp.asarray(rng.integers(5, VOCAB, (rows, completions, length)), jnp.int32),
        mask=jnp.asarray(np.arange(length) < lengths, jnp.float32),
    )


def turned(tree: PromptTree) -> PromptTree:
    """`tree()` with positions: text counts on, and its picture of 2 x 2 tokens spreads over rows and columns."""
    picture = np.array([[0, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 1]])
    text = np.arange(3)[:, None]
    row = np.concatenate([np.tile(text[:2], 3), picture + 2, np.tile(text + 4, 3)])
    mask = np.asarray(tree.prompt_mask)[..., None]
    first = row[mask[..., 0].argmax(-1)][:, None, :1]  # padding on the left takes no positions
    positions = (mask * (row[None] - first)).astype(np.int32)
    return dataclasses.replace(tree, positions=jnp.asarray(positions), start=jnp.asarray(positions.max((1, 2)) + 1))


def examples(count: int, seed: int = 0) -> list[Example]:
    """Ragged pairs with a picture, a corrupted view of it, and rejected answers that correct the chosen ones."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(count):
        prompt = np.concatenate([[1], [IMAGE_TOKEN] * 4, rng.integers(5, VOCAB, rng.integers(1, 5)), [4]])
        chosen = np.concatenate([rng.integers(5, VOCAB, rng.integers(5, 8)), [EOS]])
        rejected = chosen.copy()
        rejected[rng.integers(0, len(rejected) - 1)] = rng.integers(5, VOCAB)
        images = rng.normal(size=(2, 1, 8, 8, 3)).astype(np.float32)
        made.append(
            Example(
                id=str(i),
                prompt=Prompt(prompt.astype(np.int32), Tiles(images[0])),
                completions={
                    "chosen": chosen.astype(np.int32),
                    "rejected": rejected[: rng.integers(4, 9)].astype(np.int32),
                },
                views={"corrupted": Prompt(prompt.astype(np.int32), Tiles(images[1]))},
            )
        )
    return made
