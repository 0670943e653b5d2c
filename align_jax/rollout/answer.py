"""Answers in words: prompts in, text out, in batches of one shape."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import jax
import numpy as np

from align_jax.rollout.sampler import Samples
from align_jax.types import Example, PromptTree


def answers(
    batches: Iterable[Sequence[Example]],
    pack: Callable[[Sequence[Example]], PromptTree],
    sample: Callable[[PromptTree, jax.Array], Samples],
    decode: Callable[[Sequence[int]], str],
    *,
    seed: int = 0,
) -> Iterator[tuple[Example, list[str]]]:
    """Yields each example with the texts of its K completions, in order.

    Args:
      batches: examples, at most as many at a time as `pack` holds.
      pack: from examples to a tree on the mesh.
      sample: from a tree and a key to samples; everything else is bound already.
      decode: from token ids, without padding, to text.
      seed: every batch gets a key of its own.
    """
    key = jax.random.key(seed)
    for index, examples in enumerate(batches):
        samples = jax.device_get(sample(pack(examples), jax.random.fold_in(key, index)))
        for example, tokens, mask in zip(examples, samples.tokens, samples.mask, strict=False):
            lengths = mask.sum(-1).astype(int)
            yield example, [decode(np.asarray(t[:n])) for t, n in zip(tokens, lengths, strict=True)]
