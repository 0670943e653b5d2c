"""A loss that asks for what it cannot have."""

from align_jax.losses import loss
from align_jax.types import Mean, PreferenceBatch


@loss(batch=PreferenceBatch, needs_reference=False, statistics=("kl",))
def lonely(policy, reference, batch):
    return Mean.of(policy.chosen.kl.sum(-1), batch.weight), {}
