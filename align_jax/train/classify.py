"""Pretraining of a vision tower by labels. Stands in for CLIP where there is no published tower to start from."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.console import Console

from align_jax.train.log import ProgressLine
from align_jax.types import Params


def classify(
    features: Callable[[Params, jax.Array], jax.Array],
    params: Params,
    tx: optax.GradientTransformation,
    pixels: np.ndarray,
    labels: np.ndarray,
    *,
    classes: Sequence[int],
    steps: int,
    batch_size: int,
    seed: int,
    console: Console | None = None,
) -> tuple[Params, Callable[[np.ndarray, np.ndarray], float]]:
    """Trains a tower so that linear heads on its mean feature tell the labels.

    Args:
      features: (params, f32[M, H, W, C]) -> [M, patches, D].
      params: of the tower.
      tx: the optimizer, for `{"tower": params, "heads": ...}`.
      pixels: f32[n, H, W, C].
      labels: i32[n, number of labels].
      classes: number of classes of each label.
      steps: of training.
      batch_size: pictures a step.
      seed: of the order.
      console: where progress is shown.

    Returns:
      The tower's parameters, and `accuracy(pixels, labels)`: share of pictures with every label right.
    """
    width = jax.eval_shape(features, params, pixels[:1]).shape[-1]
    state = {"tower": params, "heads": [jnp.zeros((width, count)) for count in classes]}

    def logits(state, pixels):
        mean = features(state["tower"], pixels).mean(1)
        return [mean @ head for head in state["heads"]]

    @jax.jit
    def update(state, opt_state, pixels, labels):
        def loss(state):
            terms = [
                optax.softmax_cross_entropy_with_integer_labels(x, y).mean()
                for x, y in zip(logits(state, pixels), labels.T, strict=True)
            ]
            return sum(terms)

        grads = jax.grad(loss)(state)
        updates, opt_state = tx.update(grads, opt_state, state)
        return optax.apply_updates(state, updates), opt_state

    rng, opt_state = np.random.default_rng(seed), jax.jit(tx.init)(state)
    with ProgressLine("vision tower", steps, console=console) as line:
        for _ in range(steps):
            rows = rng.integers(0, len(pixels), batch_size)
            state, opt_state = update(state, opt_state, pixels[rows], labels[rows])
            line.advance()

    predict = jax.jit(lambda state, pixels: [x.argmax(-1) for x in logits(state, pixels)])

    def accuracy(pixels: np.ndarray, labels: np.ndarray) -> float:
        return float(np.all(np.stack(predict(state, pixels), 1) == labels, axis=1).mean())

    return state["tower"], accuracy
