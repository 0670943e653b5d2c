import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from align_jax.models import lora, mllm
from align_jax.models.linear import Linear
from align_jax.models.lora import LoraConfig
from tests import tiny

CONFIG = LoraConfig(rank=3, alpha=12.0)
KEY = jax.random.key(0)
# A linear layer, and one with two input axes, as the output of attention has them.
LAYERS = {
    "kernel": (Linear((2, 5)), (7,)),
    "out/kernel": (Linear((7,), inputs=2), (2, 5)),
}


def filled(adapter: lora.Adapter, seed: int = 0) -> lora.Adapter:
    """An adapter that changes something."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), x.dtype), adapter)


def nested(path: str, leaf):
    for name in reversed(path.split("/")):
        leaf = {name: leaf}
    return leaf


def test_a_new_adapter_changes_nothing():
    params = tiny.params()
    adapter = lora.init(KEY, params, CONFIG, mllm.matrix_axes)
    parts = [f"attention/{name}" for name in ("query", "key", "value", "out")]
    parts += [f"mlp/{name}" for name in ("gate", "up", "down")]
    assert adapter.keys() == {f"decoder/layers/{part}/kernel" for part in parts}
    for before, after in zip(
        jax.tree.leaves(params), jax.tree.leaves(lora.merge(params, adapter, CONFIG)), strict=True
    ):
        np.testing.assert_array_equal(before, after)
    out = adapter["decoder/layers/attention/out/kernel"]  # [layers, heads, head_dim, dim]
    assert out["a"].shape == (2, 4 * 8, 3) and out["b"].shape == (2, 3, 16)
    query = adapter["decoder/layers/attention/query/kernel"]  # [layers, dim, heads, head_dim]
    assert query["a"].shape == (2, 16, 3) and query["b"].shape == (2, 3, 4 * 8)


def test_the_start_is_that_of_peft_and_differs_from_matrix_to_matrix():
    """Uniform within 1 / sqrt(inputs), and 0."""
    adapter = lora.init(KEY, tiny.params(), dataclasses.replace(CONFIG, rank=64), mllm.matrix_axes)
    firsts = set()
    for name, halves in adapter.items():
        assert halves["a"].dtype == halves["b"].dtype == jnp.float32
        bound = halves["a"].shape[-2] ** -0.5
        assert 0.97 * bound < jnp.abs(halves["a"]).max() <= bound and abs(halves["a"].mean()) < 0.1 * bound, name
        assert not halves["b"].any()
        firsts.add(float(halves["a"].flatten()[0] / bound))
    assert len(firsts) == len(adapter)


@pytest.mark.parametrize("path", LAYERS)
@pytest.mark.parametrize("rslora", [False, True])
def test_a_merged_layer_adds_the_scaled_product_of_its_halves(path, rslora):
    layer, inner = LAYERS[path]
    rng = np.random.default_rng(1)
    x = jnp.asarray(rng.normal(size=(4, *inner)), jnp.float32)
    kernel = layer.init(KEY, x)["params"]["kernel"]
    params, config = nested(path, kernel), LoraConfig(rank=3, alpha=12.0, targets=("kernel$",), rslora=rslora)
    adapter = filled(lora.init(KEY, params, config, mllm.matrix_axes))
    a, b = adapter[path]["a"], adapter[path]["b"]
    merged = jax.tree.leaves(lora.merge(params, adapter, config))[0]
    scale = 12 / 3**0.5 if rslora else 12 / 3
    change = scale * ((x.reshape(4, -1) @ a) @ b)
    expected = layer.apply({"params": {"kernel": kernel}}, x) + change.reshape(4, *layer.features)
    assert a.shape[0] == np.prod(inner) and jnp.abs(change).mean() > 1
    np.testing.assert_allclose(layer.apply({"params": {"kernel": merged}}, x), expected, rtol=1e-5, atol=1e-4)


def test_every_layer_of_a_stack_has_halves_of_its_own():
    params = tiny.params()
    adapter = filled(lora.init(KEY, params, CONFIG, mllm.matrix_axes))
    merged, name = lora.merge(params, adapter, CONFIG), "decoder/layers/attention/out/kernel"
    for i in range(2):
        before, after = (p["decoder"]["layers"]["attention"]["out"]["kernel"][i] for p in (params, merged))
        change = 4 * np.asarray(adapter[name]["a"][i]) @ np.asarray(adapter[name]["b"][i])
        np.testing.assert_allclose(after - before, change.reshape(4, 8, 16), atol=1e-5)


def test_only_targets_change_whichever_part_they_are_of():
    params, config = tiny.params(), dataclasses.replace(CONFIG, targets=("vision/.*/up/kernel", "^projector/"))
    config = dataclasses.replace(config, targets=(config.targets[0], "^projector/.*kernel$"))
    merged = lora.merge(params, filled(lora.init(KEY, params, config, mllm.matrix_axes)), config)
    same = jax.tree.map(lambda a, b: bool((a == b).all()), params, merged)
    changed = {"/".join(k.key for k in path) for path, x in jax.tree_util.tree_leaves_with_path(same) if not x}
    assert changed == {"vision/layers/up/kernel", "projector/up/kernel", "projector/down/kernel"}


def test_bfloat16_parameters_stay_so_and_are_changed_in_float32():
    params = {"kernel": jnp.ones((1, 1), jnp.bfloat16)}
    config = LoraConfig(rank=1, alpha=1.0, targets=("kernel",))
    adapter = {"kernel": {"a": jnp.full((1, 1), 1 + 2**-8), "b": jnp.full((1, 1), 2**-7 / (1 + 2**-8))}}
    merged = lora.merge(params, adapter, config)["kernel"]
    assert merged.dtype == jnp.bfloat16 and float(merged[0, 0]) == 1 + 2**-7


def test_gradients_go_to_the_halves_alone():
    """Closed over, the parameters get none: what the backward pass gives is of the adapter's shape."""
    params = {"kernel": jax.random.normal(KEY, (7, 5))}
    config = LoraConfig(rank=3, alpha=12.0, targets=("kernel",))
    adapter = filled(lora.init(KEY, params, config, mllm.matrix_axes))
    x = jax.random.normal(jax.random.key(1), (4, 7))

    def loss(adapter):
        return jnp.sum(jnp.sin(x @ lora.merge(params, adapter, config)["kernel"]))

    grads = jax.grad(loss)(adapter)
    assert jax.tree.map(jnp.shape, grads) == {"kernel": {"a": (7, 3), "b": (3, 5)}}
    a, b = adapter["kernel"]["a"], adapter["kernel"]["b"]
    outer = np.cos(x @ params["kernel"] + 4 * (x @ a) @ b)  # d loss / d (x W)
    np.testing.assert_allclose(grads["kernel"]["a"], 4 * x.T @ outer @ b.T, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(grads["kernel"]["b"], 4 * (x @ a).T @ outer, rtol=1e-3, atol=1e-3)


def test_targets_that_fit_nothing_or_no_matrix_are_named():
    params = tiny.params()
    for targets, message in (
        (("attention/q_proj",), "'attention/q_proj' matches no parameter; there are: .*attention/query/kernel"),
        (("^decoder/norm",), r"decoder/norm/scale \(16,\) is no matrix"),
        (("decoder/head",), "decoder/head/kernel .* is no matrix of a layer"),
        (("decoder/embed",), "decoder/embed/embedding .* is no matrix of a layer"),
    ):
        with pytest.raises(ValueError, match=message):
            lora.init(KEY, params, dataclasses.replace(CONFIG, targets=targets), mllm.matrix_axes)


def test_an_adapter_of_another_model_and_a_rank_of_zero_are_refused():
    with pytest.raises(ValueError, match="does not have: elsewhere/kernel"):
        lora.merge(tiny.params(), {"elsewhere/kernel": {}}, CONFIG)
    with pytest.raises(ValueError, match="rank of 1 or more, not 0"):
        LoraConfig(rank=0)
