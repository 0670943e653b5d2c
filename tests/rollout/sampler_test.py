import functools

import jax
import jax.numpy as jnp
import numpy as np

from align_jax.rollout.sampler import keep_likely, sample
from align_jax.scoring import score
from align_jax.types import PromptTree
from tests import tiny

draw = functools.partial(sample, tiny.policy(), tiny.params(), tiny.tree(), completions=4, max_tokens=6, eos=tiny.EOS)


def as_tree(samples) -> PromptTree:
    tree = tiny.tree()
    first = jnp.broadcast_to(tree.tokens[:, 0, 0, None, None], (*samples.tokens.shape[:2], 1))
    tokens = jnp.concatenate([first, samples.tokens[..., :-1]], -1)
    return PromptTree(tree.prompt, tree.prompt_mask, tree.media, tokens, samples.tokens, samples.mask)


def test_log_probabilities_equal_those_of_the_scorer():
    samples = draw(jax.random.key(0))
    scores = score(tiny.policy(), tiny.params(), as_tree(samples))
    np.testing.assert_allclose(samples.logps, scores.logps, atol=1e-4)


def test_greedy_takes_the_most_likely_token_every_time():
    samples = draw(jax.random.key(0), temperature=0.0)
    tree = as_tree(samples)
    best = tiny.policy().unembed(tiny.params(), tiny.policy().hidden(tiny.params(), tree)).argmax(-1)
    np.testing.assert_array_equal(jnp.where(samples.mask > 0, best, 0), samples.tokens)
    assert (samples.tokens == samples.tokens[:, :1]).all()


def test_nothing_follows_the_end_of_a_completion():
    tokens, mask = (
        np.asarray(x).reshape(-1, 6) for x in (draw(jax.random.key(1)).tokens, draw(jax.random.key(1)).mask)
    )
    for row, seen in zip(tokens, mask, strict=True):
        end = np.flatnonzero(row == tiny.EOS)
        length = end[0] + 1 if len(end) else 6
        np.testing.assert_array_equal(seen, np.arange(6) < length)
        assert (row[length:] == 0).all()


def test_completions_of_one_prompt_differ_and_a_seed_repeats_them():
    first, again, other = draw(jax.random.key(2)), draw(jax.random.key(2)), draw(jax.random.key(3))
    np.testing.assert_array_equal(first.tokens, again.tokens)
    assert (first.tokens != other.tokens).any() and (first.tokens[:, 0] != first.tokens[:, 1]).any()


def test_samples_follow_the_distribution_of_the_policy():
    # The first token, 4,000 times over: frequencies within four standard errors of the probabilities.
    count = 4000
    samples = sample(
        tiny.policy(), tiny.params(), tiny.tree(1), jax.random.key(0), completions=count, max_tokens=1, eos=tiny.EOS
    )
    tree = tiny.tree(1)
    probs = jax.nn.softmax(tiny.policy().unembed(tiny.params(), tiny.policy().hidden(tiny.params(), tree))[0, 0, 0])
    found = np.bincount(np.asarray(samples.tokens).ravel(), minlength=tiny.VOCAB) / count
    assert (np.abs(found - probs) < 4 * np.sqrt(probs * (1 - probs) / count) + 1e-3).all()


def test_top_k_and_top_p_keep_the_smallest_sufficient_set():
    logits = jnp.log(jnp.asarray([0.1, 0.5, 0.15, 0.25]))
    kept = lambda **how: np.isfinite(keep_likely(logits, **how)).tolist()  # noqa: E731
    assert kept(top_k=2) == [False, True, False, True]
    assert kept(top_p=0.7) == [False, True, False, True]
    assert kept(top_p=0.76) == [False, True, True, True]
    assert kept(top_p=0.01) == [False, True, False, False]
    assert kept(top_k=3, top_p=0.5) == [False, True, False, False]
