"""How losses are declared, found by name and mixed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from align_jax import registry
from align_jax.types import Batch, Mean

PACKAGE = "align_jax.losses"


def loss(*, batch: type[Batch], needs_reference: bool = True) -> Callable[[Callable], Callable]:
    """Decorator that declares a loss and the facts that a training step needs.

    Args:
      batch: the batch class that the loss reads; a subclass of it will do.
      needs_reference: whether the loss reads scores of the reference model; if not, it is given None.
    """
    return registry.entry(batch=batch, needs_reference=needs_reference)


def names() -> list[str]:
    """Names of all losses of this package."""
    return registry.names(PACKAGE)


@dataclass(frozen=True)
class Objective:
    """A weighted sum of losses. Each keeps its own denominator, so microbatches add up exactly."""

    names: tuple[str, ...]
    weights: tuple[float, ...]
    losses: tuple[Callable, ...]
    batch: type[Batch]
    needs_reference: bool

    @classmethod
    def build(cls, terms: Mapping | Sequence[Mapping]) -> "Objective":
        """An objective from `{"name": "dpo", "beta": 0.1}`, or from a list of such, each with an optional `weight`.

        Raises:
          ValueError: unknown loss or hyper-parameter, a loss named twice, or losses that read unrelated batches.
        """
        terms = [dict(term) for term in ([terms] if isinstance(terms, Mapping) else terms)]
        names = tuple(term.pop("name") for term in terms)
        if len(set(names)) < len(names) or not names:
            raise ValueError(f"an objective needs at least one loss, and each once; got {names}")
        weights = tuple(float(term.pop("weight", 1.0)) for term in terms)
        losses = tuple(registry.build(PACKAGE, name, **term) for name, term in zip(names, terms, strict=True))
        classes = [term.facts["batch"] for term in losses]
        batch = next((c for c in classes if all(issubclass(c, other) for other in classes)), None)
        if batch is None:
            raise ValueError(f"{names} read batches of unrelated classes: {[c.__name__ for c in classes]}")
        return cls(names, weights, losses, batch, any(term.facts["needs_reference"] for term in losses))

    def __call__(self, policy: Any, reference: Any, batch: Batch) -> tuple[tuple[Mean, ...], dict[str, Mean]]:
        """Each loss's Mean, and all metrics; `policy` and `reference` are what `batch.group` returned."""
        means, metrics = [], {}
        for name, term in zip(self.names, self.losses, strict=True):
            mean, term_metrics = term(policy, reference if term.facts["needs_reference"] else None, batch)
            means.append(mean)
            metrics |= {f"loss/{name}": mean, **term_metrics}
        return tuple(means), metrics

    def value(self, means: Sequence[Mean], counts: Sequence[jax.Array]) -> jax.Array:
        """f32[]: the weighted sum, each term divided by its count over the whole batch: the one place that divides."""
        return sum(
            weight * mean.total / jnp.where(count == 0, 1.0, count)
            for weight, mean, count in zip(self.weights, means, counts, strict=True)
        )
