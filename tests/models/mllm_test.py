import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from align_jax.models import mllm
from align_jax.models.mllm import MLLMConfig
from tests import tiny

hidden = jax.jit(tiny.policy().hidden)


def test_completions_of_a_tree_equal_each_one_alone():
    tree = tiny.tree(completions=3)
    together = hidden(tiny.params(), tree)
    for k in range(3):
        alone = dataclasses.replace(
            tree, tokens=tree.tokens[:, k : k + 1], targets=tree.targets[:, k : k + 1], mask=tree.mask[:, k : k + 1]
        )
        np.testing.assert_allclose(hidden(tiny.params(), alone)[:, 0], together[:, k], atol=1e-5)


def test_the_side_and_amount_of_padding_change_nothing():
    tree = tiny.tree(rows=2)
    tree = dataclasses.replace(tree, prompt_mask=jnp.ones_like(tree.prompt_mask))

    def pad(x, left, right):
        return jnp.pad(x, [(0, 0), (left, right)])

    for left, right in ((3, 0), (0, 3), (1, 2)):
        padded = dataclasses.replace(
            tree, prompt=pad(tree.prompt, left, right), prompt_mask=pad(tree.prompt_mask, left, right)
        )
        np.testing.assert_allclose(hidden(tiny.params(), padded), hidden(tiny.params(), tree), atol=1e-5)


def test_a_completion_does_not_see_its_future():
    tree = tiny.tree()
    changed = dataclasses.replace(tree, tokens=tree.tokens.at[:, :, 4:].set(5))
    before, after = hidden(tiny.params(), tree), hidden(tiny.params(), changed)
    np.testing.assert_array_equal(before[:, :, :4], after[:, :, :4])
    assert jnp.abs(before[:, :, 4:] - after[:, :, 4:]).max() > 1e-3


def test_the_picture_of_a_row_reaches_this_row_only():
    tree = tiny.tree()
    pixels = tree.media.pixels.at[1].add(1.0)
    changed = dataclasses.replace(tree, media=dataclasses.replace(tree.media, pixels=pixels))
    difference = jnp.abs(hidden(tiny.params(), tree) - hidden(tiny.params(), changed)).max((1, 2, 3))
    assert difference[1] > 1e-3 and difference[0] == difference[2] == 0


def test_decoding_with_a_cache_equals_the_forward_pass():
    tree, params, policy = tiny.tree(), tiny.params(), tiny.policy()
    K, R = tree.tokens.shape[1:]
    cache = policy.prefill(params, tree.prompt, tree.prompt_mask, tree.media, K, R)
    decode, states = jax.jit(policy.decode), []
    for step in range(R):
        state, cache = decode(params, cache, tree.tokens[:, :, step], jnp.int32(step))
        states.append(state)
    np.testing.assert_allclose(jnp.stack(states, 2), hidden(params, tree), atol=2e-5)
    assert cache.prompt_keys.shape == (2, 3, 9, 2, 8), "the prompt is held once, not once for each completion"


@pytest.mark.parametrize("change", [{"remat": True}, {"unroll": 2}])
def test_how_layers_are_run_changes_neither_values_nor_gradients(change):
    def grads(config):
        policy = mllm.build(config)
        return jax.jit(jax.value_and_grad(lambda p: (policy.hidden(p, tiny.tree()) ** 2).sum()))(tiny.params())

    changed = dataclasses.replace(tiny.CONFIG, decoder=dataclasses.replace(tiny.CONFIG.decoder, **change))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), grads(tiny.CONFIG), grads(changed)
    )


def test_unknown_size_is_refused():
    with pytest.raises(ValueError, match="depth"):
        MLLMConfig.from_dict({"decoder": {"depth": 3}})
