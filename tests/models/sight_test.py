"""Masks against a loop over pairs of tokens, with padding on either side of the prompt and in the middle of it."""

import jax.numpy as jnp
import numpy as np
import pytest

from align_jax.models import sight

PADDING = {
    "none": [1, 1, 1, 1, 1, 1, 1],
    "left": [0, 0, 1, 1, 1, 1, 1],
    "right": [1, 1, 1, 1, 1, 0, 0],
    "both": [0, 1, 1, 1, 1, 1, 0],
    "middle": [1, 1, 0, 0, 1, 1, 1],
}
PROMPTS = np.array(list(PADDING.values()), np.float32)  # one row each
BLOCKS = np.array([[0, 1, 1, 1, 0, 2, 2]] * len(PROMPTS)) * PROMPTS.astype(int)
LENGTH = 4


def expected(mask, length, window, blocks):
    """bool[P + R, P + R]: what tokens of a prompt [P] and of one completion see of both; nothing for padding."""
    real = [i for i, m in enumerate(mask) if m] + [len(mask) + r for r in range(length)]
    sees = np.zeros((len(mask) + length,) * 2, bool)
    for here, query in enumerate(real):  # `here` and `there` count the tokens that are there
        for there, key in enumerate(real):
            picture = max(query, key) < len(mask) and blocks is not None and 0 < blocks[query] == blocks[key]
            sees[query, key] = (there <= here or picture) and (not window or here - there < window)
    return sees


@pytest.mark.parametrize("blocks", [None, BLOCKS], ids=["causal", "blocks"])
@pytest.mark.parametrize("window", [0, 1, 2, 3, 5, 100])
def test_a_tree_sees_what_the_loop_says(window, blocks):
    P = PROMPTS.shape[1]
    prompt, back, own = sight.of_tree(PROMPTS, LENGTH, window, None if blocks is None else jnp.asarray(blocks))
    assert prompt.dtype == back.dtype == own.dtype == bool
    for row, mask in enumerate(PROMPTS):
        wanted = expected(mask, LENGTH, window, None if blocks is None else blocks[row])
        real = mask > 0  # what padding sees is never read
        np.testing.assert_array_equal(np.asarray(prompt)[row, 0][real], wanted[:P, :P][real])
        np.testing.assert_array_equal(jnp.broadcast_to(back[row, 0], (LENGTH, P)), wanted[P:, :P])
        np.testing.assert_array_equal(own[0, 0], wanted[P:, P:])


def test_blocks_and_windows_change_something():
    plain = sight.of_tree(PROMPTS, LENGTH).prompt
    blocked = sight.of_tree(PROMPTS, LENGTH, 0, jnp.asarray(BLOCKS)).prompt
    assert (blocked & ~plain).any() and not (plain & ~blocked).any()
    near = sight.of_tree(PROMPTS, LENGTH, 3)
    assert (plain & ~near.prompt).any() and not near.back.all((1, 2)).any() and not near.own[0, 0, -1, 0]


@pytest.mark.parametrize("window", [0, 1, 2, 3, 5, 100])
def test_a_step_sees_what_its_row_of_the_tree_sees(window):
    room = 6  # more than is used
    tree = sight.of_tree(PROMPTS, LENGTH, window)
    back = np.broadcast_to(tree.back, (len(PROMPTS), 1, LENGTH, PROMPTS.shape[1]))
    for step in range(LENGTH):
        seen = sight.of_step(PROMPTS, room, jnp.int32(step), window)
        assert seen.prompt is None
        np.testing.assert_array_equal(seen.back[:, :, 0], back[:, :, step])
        assert seen.own.shape == (1, 1, 1, room)
        # The token itself is not in the cache yet.
        np.testing.assert_array_equal(seen.own[0, 0, 0, :step], tree.own[0, 0, step, :step])
        assert not seen.own[..., step:].any() and tree.own[0, 0, step, step]


def test_a_prompt_alone_has_no_completions_to_mask():
    alone, tree = sight.of_tree(PROMPTS, 0, 2), sight.of_tree(PROMPTS, LENGTH, 2)
    np.testing.assert_array_equal(alone.prompt, tree.prompt)
    assert alone.back is None and alone.own is None
