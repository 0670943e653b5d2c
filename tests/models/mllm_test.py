import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from align_jax import sharding
from align_jax.models import mllm
from align_jax.models.mllm import MLLM, MLLMConfig
from align_jax.models.rope import Rope
from align_jax.types import Sound, Tiles
from tests import tiny


def changed(config: MLLMConfig = tiny.CONFIG, blocks: bool = False, **decoder) -> MLLMConfig:
    return dataclasses.replace(config, blocks=blocks, decoder=dataclasses.replace(config.decoder, **decoder))


VARIANTS = {
    "plain": tiny.CONFIG,
    # As in Qwen-VL: rotation by time, row and column.
    "axes": changed(rope=Rope(sections=(2, 1, 1)), qkv_bias=True, tie_embeddings=True),
    # As in Gemma 3, and what Gemma 2 has besides.
    "windows": changed(
        blocks=True,
        window=3,
        local=(True, False),
        rope=Rope(kind="linear", factor=2.0),
        local_rope=Rope(theta=50.0),
        qk_norm=True,
        post_norms=True,
        norm_offset=1.0,
        embed_scale=4.0,
        query_scale=0.5,
        attention_softcap=2.0,
        final_softcap=3.0,
        activation="gelu_tanh",
    ),
}


@functools.cache
def hidden_of(config: MLLMConfig = tiny.CONFIG):
    return jax.jit(tiny.policy(config).hidden)


hidden = hidden_of()


@pytest.fixture(scope="module", params=VARIANTS)
def variant(request):
    """Sizes, jitted hidden states of (params, tree), params, and what gives a tree the positions that it needs."""
    config = VARIANTS[request.param]
    turn = tiny.turned if config.decoder.rope.sections else lambda tree: tree
    return config, hidden_of(config), tiny.params(0, config), turn


def test_completions_of_a_tree_equal_each_one_alone(variant):
    _, hidden, params, turn = variant
    tree = turn(tiny.tree(completions=3))
    together = hidden(params, tree)
    assert together.std() > 0.1
    for k in range(3):
        alone = dataclasses.replace(
            tree, tokens=tree.tokens[:, k : k + 1], targets=tree.targets[:, k : k + 1], mask=tree.mask[:, k : k + 1]
        )
        np.testing.assert_allclose(hidden(params, alone)[:, 0], together[:, k], atol=1e-5)


def test_the_side_and_amount_of_padding_change_nothing(variant):
    _, hidden, params, turn = variant
    tree = tiny.tree(rows=2)
    tree = turn(dataclasses.replace(tree, prompt_mask=jnp.ones_like(tree.prompt_mask)))
    expected = hidden(params, tree)

    def pad(x, left, right):
        return None if x is None else jnp.pad(x, [(0, 0), (left, right)] + [(0, 0)] * (x.ndim - 2))

    for sides in ((3, 0), (0, 3), (1, 2)):
        padded = {name: pad(getattr(tree, name), *sides) for name in ("prompt", "prompt_mask", "positions")}
        found = hidden(params, dataclasses.replace(tree, **padded))
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_completion_does_not_see_its_future(variant):
    _, hidden, params, turn = variant
    tree = turn(tiny.tree(completions=3))
    later = dataclasses.replace(tree, tokens=tree.tokens.at[:, :, 4:].set(5))
    before, after = hidden(params, tree), hidden(params, later)
    np.testing.assert_array_equal(before[:, :, :4], after[:, :, :4])
    assert jnp.abs(before[:, :, 4:] - after[:, :, 4:]).max() > 1e-3


def test_the_picture_of_a_row_reaches_this_row_only():
    tree = tiny.tree()
    pixels = tree.media.pixels.at[1].add(1.0)
    other = dataclasses.replace(tree, media=dataclasses.replace(tree.media, pixels=pixels))
    difference = jnp.abs(hidden(tiny.params(), tree) - hidden(tiny.params(), other)).max((1, 2, 3))
    assert difference[1] > 1e-3 and difference[0] == difference[2] == 0


def test_decoding_with_a_cache_equals_the_forward_pass(variant):
    config, hidden, params, turn = variant
    tree, policy = turn(tiny.tree(completions=3)), tiny.policy(config)
    K, R = tree.tokens.shape[1:]
    cache = jax.jit(policy.prefill, static_argnums=(2, 3))(params, tree, K, R)
    decode, states = jax.jit(policy.decode), []
    for step in range(R):
        state, cache = decode(params, cache, tree.tokens[:, :, step], jnp.int32(step))
        states.append(state)
    np.testing.assert_allclose(jnp.stack(states, 2), hidden(params, tree), atol=2e-5)
    assert cache.prompt_keys.shape == (2, 3, 9, 2, 8), "the prompt is held once, not once for each completion"
    # Row 1 lacks two tokens on the right, row 2 two on the left. A picture of 2 x 2 tokens takes two positions.
    np.testing.assert_array_equal(cache.start, [9, 7, 7] if tree.positions is None else [7, 5, 5])


def test_counted_positions_equal_none_and_those_of_a_picture_do_not():
    config = VARIANTS["axes"]
    params, tree = tiny.params(0, config), tiny.tree(completions=3)
    count = jnp.cumsum(tree.prompt_mask, -1).astype(jnp.int32)
    positions = jnp.broadcast_to(jnp.maximum(count - 1, 0)[..., None], (3, 9, 3))
    counted = dataclasses.replace(tree, positions=positions, start=count[:, -1])
    none, same, picture = (hidden_of(config)(params, t) for t in (tree, counted, tiny.turned(tree)))
    np.testing.assert_allclose(none, same, atol=1e-5)
    assert (jnp.abs(none - picture).max((1, 2, 3)) > 1e-3).all()


def test_local_layers_do_not_see_beyond_their_window():
    # Two layers that see two tokens back reach four: from behind nine tokens not to the first two of them.
    tree = tiny.tree(rows=1)
    far, near = (dataclasses.replace(tree, prompt=tree.prompt.at[:, at].set(7)) for at in (slice(0, 2), slice(8, 9)))
    local = hidden_of(changed(window=3, local=(True, True)))
    np.testing.assert_array_equal(local(tiny.params(), tree), local(tiny.params(), far))
    assert jnp.abs(local(tiny.params(), tree) - local(tiny.params(), near)).max() > 1e-3
    assert jnp.abs(hidden(tiny.params(), tree) - hidden(tiny.params(), far)).max() > 1e-3


def embed(config, tree):
    return MLLM(config).apply({"params": tiny.params(0, config)}, tree, method=MLLM.embed)


def test_each_picture_is_a_block_and_padding_is_in_none():
    tree, I = tiny.tree(rows=2), tiny.IMAGE_TOKEN  # noqa: E741
    prompt = jnp.asarray([[I, I, 9, I, I, 9, 9, 9, I], [9, 9, I, I, I, I, 9, 9, I]])
    tree = dataclasses.replace(tree, prompt=prompt, prompt_mask=tree.prompt_mask.at[1, :3].set(0))
    x, blocks, deepstack = embed(changed(blocks=True), tree)
    np.testing.assert_array_equal(blocks, [[1, 1, 0, 2, 2, 0, 0, 0, 3], [0, 0, 0, 1, 1, 1, 0, 0, 0]])
    plain, none, _ = embed(tiny.CONFIG, tree)
    np.testing.assert_array_equal(x, plain)
    assert none is None and deepstack is None


def test_features_go_to_the_placeholders_in_order_whatever_their_token():
    tree, other = tiny.tree(rows=1), tiny.VOCAB - 1
    tree = dataclasses.replace(tree, prompt=jnp.where(tree.prompt == other, 5, tree.prompt))
    mixed = dataclasses.replace(tree, prompt=tree.prompt.at[0, 4].set(other))
    both = dataclasses.replace(tiny.CONFIG, placeholders=(tiny.IMAGE_TOKEN, other))
    expected = embed(tiny.CONFIG, tree)[0]
    np.testing.assert_array_equal(embed(both, mixed)[0], expected)
    features = MLLM(both).apply({"params": tiny.params()}, tree.media, method=MLLM.features)[0]
    np.testing.assert_array_equal(expected[0, 2:6], features[0])
    assert (jnp.abs(embed(tiny.CONFIG, mixed)[0] - expected).max(-1) > 1e-3).tolist() == [
        [False] * 4 + [True] * 2 + [False] * 3
    ]


def test_slots_say_which_features_a_placeholder_takes():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(2, 5, 3)).astype(np.float32)
    slot = np.array([[0, 0, 1, 2, 2], [0, 1, 2, 3, 3]])  # placeholder number of each of five prompt tokens
    place = functools.partial(mllm.place, jnp.asarray(features), slot=jnp.asarray(slot))

    plain = place(Tiles(jnp.zeros((2, 1, 8, 8, 3))))
    one = rng.integers(0, 5, (2, 4))
    chosen = place(Sound(None, None, jnp.asarray(one)))
    several, weights = rng.integers(-1, 5, (2, 4, 3)), rng.normal(size=(2, 4, 3)).astype(np.float32)
    summed = place(Tiles(jnp.zeros((2, 1, 8, 8, 3)), jnp.asarray(several), jnp.asarray(weights)))
    for row in range(2):
        for token in range(5):
            n = slot[row, token]
            np.testing.assert_array_equal(plain[row, token], features[row, n])
            np.testing.assert_array_equal(chosen[row, token], features[row, one[row, n]])
            expected = sum(w * features[row, s] for s, w in zip(several[row, n], weights[row, n], strict=True))
            np.testing.assert_allclose(summed[row, token], expected, atol=1e-6)
    assert (several == -1).any(), "-1 is the last feature"


def test_a_row_of_tiles_may_end_in_the_learned_newline():
    config = dataclasses.replace(tiny.CONFIG, newline=True)
    params, media = tiny.params(0, config), tiny.tree().media
    (features,) = MLLM(config).apply({"params": params}, media, method=MLLM.features)
    plain = {name: value for name, value in params.items() if name != "newline"}
    (without,) = MLLM(tiny.CONFIG).apply({"params": plain}, media, method=MLLM.features)
    np.testing.assert_array_equal(features[:, :-1], without)
    np.testing.assert_array_equal(features[:, -1], jnp.broadcast_to(params["newline"]["embedding"][None], (3, 16)))


def test_the_final_softcap_squeezes_logits():
    states = 20 * jax.random.normal(jax.random.key(0), (2, 16))
    plain, capped = (tiny.policy(c).unembed(tiny.params(), states) for c in (tiny.CONFIG, changed(final_softcap=3.0)))
    np.testing.assert_allclose(capped, 3 * np.tanh(plain / 3), atol=1e-5)
    assert jnp.abs(plain).max() > 3


@pytest.mark.parametrize("change", [{"remat": True}, {"unroll": 2}])
def test_how_layers_are_run_changes_neither_values_nor_gradients(change):
    def grads(config):
        policy = mllm.build(config)
        return jax.jit(jax.value_and_grad(lambda p: (policy.hidden(p, tiny.tree()) ** 2).sum()))(tiny.params())

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
        grads(tiny.CONFIG),
        grads(changed(**change)),
    )


def test_every_parameter_has_one_partition_rule_of_its_rank():
    biased = dataclasses.replace(changed(out_bias=True), newline=True)
    for config in (*VARIANTS.values(), biased):
        params = tiny.params(0, config)
        specs = sharding.match(params, mllm.rules(config))
        jax.tree.map(lambda x, spec: np.testing.assert_equal(len(spec), x.ndim), params, specs)


def test_unknown_size_is_refused():
    with pytest.raises(ValueError, match="depth"):
        MLLMConfig.from_dict({"decoder": {"depth": 3}})
