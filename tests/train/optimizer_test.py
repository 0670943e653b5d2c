import jax
import jax.numpy as jnp
import pytest

from align_jax.models import mllm
from align_jax.sharding import path_name
from align_jax.train import optimizer
from tests import tiny


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_weight_decay_spares_norms_and_biases_of_stacked_layers_too(name):
    params = jax.tree.map(jnp.ones_like, tiny.params())
    tx, _ = optimizer.build(
        name=name, learning_rate=1.0, steps=1, weight_decay=0.5, warmup=0.0, matrix_axes=mllm.matrix_axes
    )
    update = jax.jit(lambda params: tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)[0])
    moved = {path_name(path): bool(x.any()) for path, x in jax.tree_util.tree_leaves_with_path(update(params))}
    spared = {path for path, does in moved.items() if not does}
    norms = {path for path in moved if path.endswith(("scale", "bias"))}
    assert any("/layers/" in path and path.endswith("scale") for path in norms), "stacked norms have two axes"
    # What Muon leaves to Adam (embeddings, the head) Optax does not decay at all.
    assert spared == norms if name == "adamw" else norms < spared and "decoder/layers/mlp/down/kernel" not in spared
