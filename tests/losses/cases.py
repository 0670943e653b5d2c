"""Ragged random scores for tests of losses, and gradients to compare with."""

import jax
import jax.numpy as jnp
import numpy as np

from align_jax.types import Pair, Scores


def mask(seed: int = 0, completions: int = 2, rows: int = 5, length: int = 7) -> np.ndarray:
    """f32[completions, rows, length]: ragged, none empty."""
    rng = np.random.default_rng(seed)
    return (np.arange(length) < rng.integers(1, length + 1, (completions, rows, 1))).astype(np.float32)


def logps(mask: np.ndarray, seed: int = 1, scale: float = 2.0) -> np.ndarray:
    """f32, as `mask`: log-probabilities, 0 where masked."""
    return -np.random.default_rng(seed).exponential(scale, mask.shape).astype(np.float32) * mask


def weight(rows: int = 5) -> np.ndarray:
    """f32[rows]: the last row is padding."""
    return np.array([1.0] * (rows - 1) + [0.0], np.float32)


def scores(logps: np.ndarray, mask: np.ndarray, **statistics) -> Scores:
    """Scores [B, R]."""
    return Scores(jnp.asarray(logps, jnp.float32), jnp.asarray(mask, jnp.float32), **statistics)


def pair(logps: np.ndarray, mask: np.ndarray) -> Pair[Scores]:
    """Scores of chosen and rejected, from arrays [2, B, R]."""
    return Pair(scores(logps[0], mask[0]), scores(logps[1], mask[1]))


def totals(*values: float) -> Scores:
    """Scores [B, 1] of completions of one token: for values derived by hand."""
    return Scores(jnp.asarray(values, jnp.float32)[:, None], jnp.ones((len(values), 1)))


def check(loss, expected, policy: np.ndarray, mask: np.ndarray, tolerance: float = 1e-5) -> None:
    """Compares a loss with an independent one, in value and in gradient.

    Args:
      loss: log-probabilities jax.Array, shape of `policy` -> f32[], what is tested.
      expected: the same in NumPy, float64; its gradient is taken by central differences.
      policy: where to compare.
      mask: of the shape of `policy`, or of one that broadcasts to it; only these positions are varied.
    """
    value, gradient = jax.value_and_grad(loss)(jnp.asarray(policy))
    x = policy.astype(np.float64)
    np.testing.assert_allclose(value, expected(x), rtol=tolerance, atol=tolerance)
    numeric, step = np.zeros_like(x), 1e-5
    for at in zip(*np.nonzero(np.broadcast_to(mask, x.shape)), strict=True):
        up, down = x.copy(), x.copy()
        up[at] += step
        down[at] -= step
        numeric[at] = (expected(up) - expected(down)) / (2 * step)
    gradient = np.asarray(gradient) * mask
    np.testing.assert_allclose(gradient, numeric, rtol=10 * tolerance, atol=tolerance)
