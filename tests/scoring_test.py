import jax
import jax.numpy as jnp
import numpy as np
import pytest

from align_jax.scoring import score
from align_jax.types import Policy, PromptTree
from tests import tiny


def plain(params, tree):
    """Log-probabilities and entropies from all logits at once."""
    log_probs = jax.nn.log_softmax(tiny.policy().unembed(params, tiny.policy().hidden(params, tree)))
    picked = jnp.take_along_axis(log_probs, tree.targets[..., None], -1)[..., 0]
    return picked * tree.mask, -(jnp.exp(log_probs) * log_probs).sum(-1) * tree.mask


@pytest.mark.parametrize("chunk", [1, 4, 6, 64])
def test_chunks_equal_all_logits_at_once(chunk):
    tree = tiny.tree()
    scores = score(tiny.policy(), tiny.params(), tree, chunk=chunk, entropy=True)
    logps, entropy = plain(tiny.params(), tree)
    np.testing.assert_allclose(scores.logps, logps, atol=1e-5)
    np.testing.assert_allclose(scores.entropy, entropy, atol=1e-5)


def test_gradients_equal_those_of_all_logits_at_once():
    tree = tiny.tree()
    chunked = jax.jit(jax.grad(lambda p: score(tiny.policy(), p, tree, chunk=4).total.sum()))(tiny.params())
    whole = jax.jit(jax.grad(lambda p: plain(p, tree)[0].sum()))(tiny.params())
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), chunked, whole)


def test_logits_of_all_positions_never_exist():
    # A vocabulary so large that [B, K, R, V] dwarfs everything else: 2 * 2 * 256 * 20000 floats are 82 MB.
    B, K, R, V, D = 2, 2, 256, 20000, 8
    tree = PromptTree(None, None, None, jnp.zeros((B, K, R), int), jnp.zeros((B, K, R), int), jnp.ones((B, K, R)))
    policy = Policy(None, lambda p, tree: p["hidden"], lambda p, h: h @ p["head"], None, None)
    shapes = {
        "hidden": jax.ShapeDtypeStruct((B, K, R, D), jnp.float32),
        "head": jax.ShapeDtypeStruct((D, V), jnp.float32),
    }

    def peak(chunk):
        loss = jax.grad(lambda p: score(policy, p, tree, chunk=chunk).total.sum())
        return jax.jit(loss).lower(shapes).compile().memory_analysis().temp_size_in_bytes

    logits = 4 * B * K * R * V
    assert peak(256) >= logits > 4 * peak(16)
