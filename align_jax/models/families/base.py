"""What a family is."""

from typing import NamedTuple

from align_jax.models.mllm import MLLMConfig
from align_jax.models.weights import Weights


class Family(NamedTuple):
    """A published architecture at the sizes of one checkpoint."""

    sizes: MLLMConfig
    weights: Weights  # the names that transformers writes
    # (start of such a name, start as the published checkpoints have it), where they differ: both are read.
    published: tuple[tuple[str, str], ...] = ()
    modules: tuple[tuple[str, str], ...] = ()  # (start of such a name, where transformers has it in memory), for PEFT


def refuse(what: str) -> None:
    """Raises the ValueError for a setting that would change what the model computes, and that we do not have."""
    raise ValueError(f"{what} is not supported: the checkpoint would not compute what its authors meant")
