import jax
import jax.numpy as jnp
import numpy as np
import pytest

from align_jax.scoring import score, score_both
from align_jax.types import Policy, PromptTree
from tests import tiny

STATISTICS = ("entropy", "collision", "logits", "rival", "top")


def plain(params, tree):
    """Log-probabilities and statistics from all logits at once."""
    logits = tiny.policy().unembed(params, tiny.policy().hidden(params, tree))
    log_probs = jax.nn.log_softmax(logits)
    of_targets = lambda x: jnp.take_along_axis(x, tree.targets[..., None], -1)[..., 0]  # noqa: E731
    others = jnp.where(jax.nn.one_hot(tree.targets, logits.shape[-1]) > 0, -jnp.inf, log_probs)
    found = {
        "logps": of_targets(log_probs),
        "entropy": -(jnp.exp(log_probs) * log_probs).sum(-1),
        "collision": jnp.log((jnp.exp(log_probs) ** 2).sum(-1)),
        "logits": of_targets(logits),
        "rival": others.max(-1),
        "top": logits.argmax(-1),
    }
    return {name: jnp.where(tree.mask > 0, x, 0) for name, x in found.items()}


@pytest.mark.parametrize("chunk", [1, 4, 6, 64])
def test_chunks_equal_all_logits_at_once(chunk):
    tree = tiny.tree()
    scores = score(tiny.policy(), tiny.params(), tree, chunk=chunk, statistics=STATISTICS)
    for name, expected in plain(tiny.params(), tree).items():
        np.testing.assert_allclose(getattr(scores, name), expected, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("chunk", [4, 64])
def test_divergence_from_the_reference_is_over_the_whole_vocabulary(chunk):
    tree, models = tiny.tree(), (tiny.params(0), tiny.params(1))
    both = score_both(tiny.policy(), *models, tree, chunk=chunk, statistics=("entropy", "kl"))
    for scores, params in zip(both, models, strict=True):
        np.testing.assert_allclose(scores.logps, plain(params, tree)["logps"], atol=1e-5)
        np.testing.assert_allclose(scores.entropy, plain(params, tree)["entropy"], atol=1e-5)
    policy, reference = (
        np.float64(jax.nn.log_softmax(tiny.policy().unembed(p, tiny.policy().hidden(p, tree)))) for p in models
    )
    expected = (np.exp(reference) * (reference - policy)).sum(-1) * tree.mask
    assert expected.max() > 0.1
    np.testing.assert_allclose(both[0].kl, expected, atol=1e-5)
    assert both[1].kl is None


def test_the_divergence_has_no_gradient_to_the_reference():
    tree = tiny.tree()
    kl = lambda params, reference: score_both(tiny.policy(), params, reference, tree)[0].kl.sum()  # noqa: E731
    ours, theirs = jax.jit(jax.grad(kl, argnums=(0, 1)))(tiny.params(0), tiny.params(1))
    norm = lambda tree: sum(float(jnp.abs(x).sum()) for x in jax.tree.leaves(tree))  # noqa: E731
    assert norm(ours) > 0 == norm(theirs)


def test_an_unknown_statistic_is_refused():
    with pytest.raises(ValueError, match="no statistic is called entropie; there are: entropy, "):
        score(tiny.policy(), tiny.params(), tiny.tree(), statistics=("entropie",))


def test_gradients_equal_those_of_all_logits_at_once():
    tree = tiny.tree()
    chunked = jax.jit(jax.grad(lambda p: score(tiny.policy(), p, tree, chunk=4).total.sum()))(tiny.params())
    whole = jax.jit(jax.grad(lambda p: plain(p, tree)["logps"].sum()))(tiny.params())
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
