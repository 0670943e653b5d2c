"""A model and batches that are small enough for tests, and shared so that each function compiles once."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from align_jax.models import mllm
from align_jax.train import step
from align_jax.types import Example, Prompt, PromptTree, Span, Tiles

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


def evaluate(objective):
    """`(params, reference, batch, memory) -> (means, metrics, memory)`: an objective of the tiny model."""
    scores = step.make_scores(policy(), objective)
    return lambda params, reference, batch, memory: step.judge(
        objective, *scores(params, reference, batch), batch, memory
    )


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
    """Ragged pairs with a picture, rejected answers that correct the chosen ones, and all that any loss reads."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(count):
        prompt = np.concatenate([[1], [IMAGE_TOKEN] * 4, rng.integers(5, VOCAB, rng.integers(1, 5)), [4]])
        chosen = np.concatenate([rng.integers(5, VOCAB, rng.integers(5, 8)), [EOS]])
        rejected = chosen.copy()
        rejected[rng.integers(0, len(rejected) - 1)] = rng.integers(5, VOCAB)
        images = rng.normal(size=(2, 1, 8, 8, 3)).astype(np.float32)
        prompt, chosen, rejected = (x.astype(np.int32) for x in (prompt, chosen, rejected[: rng.integers(4, 9)]))
        views, more = Anything(Prompt(prompt, Tiles(images[1]))), np.random.default_rng((seed, i))
        other = [more.integers(5, VOCAB, more.integers(1, 9)).astype(np.int32) for _ in range(4)]
        own = {"chosen": chosen, "rejected": rejected}
        spans = {
            name: [Span(0, 2, "accurate"), Span(2, int(more.integers(3, len(ids) + 1)), "inaccurate")]
            for name, ids in own.items()
        }
        made.append(
            Example(
                id=str(i),
                prompt=Prompt(prompt, Tiles(images[0])),
                completions=Anything(other[0], own),
                views=views,
                ranked=other[: more.integers(2, 5)],
                ranked_scores=[0.9, 0.7, 0.4, 0.1],
                numbers=Anything(float(more.uniform(0.1, 1.0))),
                spans=spans,
            )
        )
    return made


class Anything(dict):
    """A dict that has every key: what a loss may ask for is not known here."""

    def __init__(self, value, known=()):
        super().__init__(known)
        self.value = value

    def __missing__(self, key):
        return self.value

    def __contains__(self, key):
        return True
