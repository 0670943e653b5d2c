"""Alignment losses, one file each. A loss sees scores and a batch; never a model, a tokenizer or a config.

loss(policy, reference, batch, *, hyper-parameters) -> (Mean, {metric: Mean})
"""

from align_jax.losses.base import Objective, loss, names

__all__ = ["Objective", "loss", "names"]
