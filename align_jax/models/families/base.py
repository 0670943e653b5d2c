"""What a family is."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from align_jax.models.kinds import Sizes
from align_jax.models.weights import Weights


class Family(NamedTuple):
    """A published architecture at the sizes of one checkpoint."""

    sizes: Sizes
    weights: Weights  # the names that transformers writes
    # (start of such a name, start as the published checkpoints have it), where they differ: both are read.
    published: tuple[tuple[str, str], ...] = ()
    modules: tuple[tuple[str, str], ...] = ()  # (start of such a name, where transformers has it in memory)

    def spellings(self, name: str) -> tuple[str, ...]:
        """What checkpoints call a tensor, by the name that transformers writes.

        Trainers that store what is in memory, without `save_pretrained`, have the names of the modules.
        """
        published = renamed(name, self.published)
        return name, published, renamed(name, self.modules), renamed(published, self.modules)


def renamed(name: str, starts: Sequence[tuple[str, str]]) -> str:
    """The name with the first of these starts that it has changed for the other of the pair."""
    for start, other in starts:
        if name.startswith(start):
            return other + name.removeprefix(start)
    return name


def activation(settings: Mapping[str, Any], key: str, known: Mapping[str, str]) -> str:
    """Our name of the activation that a config has at `key`; raises ValueError for one that is not `known`."""
    if settings[key] not in known:
        refuse(f"{key} {settings[key]!r}")
    return known[settings[key]]


def refuse(what: str) -> None:
    """Raises the ValueError for a setting that would change what the model computes, and that we do not have."""
    raise ValueError(f"{what} is not supported: the checkpoint would not compute what its authors meant")
