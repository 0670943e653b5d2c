"""How losses are declared, found by name and mixed."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from align_jax import registry
from align_jax.types import Batch, Mean

PACKAGE = "align_jax.losses"


def loss(
    *,
    batch: type[Batch],
    needs_reference: bool = True,
    statistics: Sequence[str] = (),
    coupled: bool = False,
    memory: Callable[[], Any] | None = None,
    prepare: Callable | None = None,
) -> Callable[[Callable], Callable]:
    """Decorator that declares a loss and the facts that a training step needs.

    Args:
      batch: the batch class that the loss reads; a subclass of it will do.
      needs_reference: whether the loss reads scores of the reference model; if not, it is given None.
      statistics: fields of `Scores` that the loss reads besides `logps`: "entropy", "kl", ...
      coupled: whether a row's loss depends on other rows (a mean over the batch, a sort), so that microbatches must
        not be given to the loss one by one.
      memory: makes what the loss remembers from step to step, a tree of arrays. The loss then takes it as its fourth
        argument and returns what it has become as a third value. It sees a whole batch at a time, as if `coupled`.
      prepare: `(batch, policy, reference, *, hyper-parameters of the loss) -> (batch, batch)`: what the policy and
        what the reference is to score, if it depends on the models. Both are given as functions `PromptTree ->
        Scores`, with all statistics that it names in `statistics`; no gradient passes through `prepare`.
    """
    return registry.entry(
        batch=batch,
        needs_reference=needs_reference,
        statistics=tuple(statistics),
        coupled=coupled or memory is not None,
        memory=memory,
        prepare=prepare,
    )


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
        if sum(term.facts["prepare"] is not None for term in losses) > 1:
            raise ValueError(f"of {names}, more than one changes what is scored")
        objective = cls(names, weights, losses, batch)
        changed = any(term.facts["prepare"] is not None for term in losses)
        if "kl" in objective.statistics and (changed or not objective.needs_reference):
            raise ValueError(f"{names}: kl needs a reference that scores the same trees as the policy")
        return objective

    @property
    def needs_reference(self) -> bool:
        return any(term.facts["needs_reference"] for term in self.losses)

    @property
    def statistics(self) -> tuple[str, ...]:
        """Fields of `Scores` that the losses read besides `logps`."""
        return tuple(sorted({name for term in self.losses for name in term.facts["statistics"]}))

    @property
    def coupled(self) -> bool:
        """Whether rows of a batch depend on each other."""
        return any(term.facts["coupled"] for term in self.losses)

    def memory(self) -> dict[str, Any]:
        """What the losses remember before the first step."""
        facts = {name: term.facts["memory"] for name, term in zip(self.names, self.losses, strict=True)}
        return {name: make() for name, make in facts.items() if make is not None}

    def prepare(self, batch: Batch, policy: Callable, reference: Callable | None) -> tuple[Batch, Batch]:
        """What the policy and what the reference is to score; see `loss`."""
        for term in self.losses:
            if prepare := term.facts["prepare"]:
                hyper = registry.hyper_parameters(term)
                known = inspect.signature(prepare).parameters
                both = prepare(batch, policy, reference, **{k: v for k, v in hyper.items() if k in known})
                return jax.lax.stop_gradient(both)
        return batch, batch

    def __call__(
        self, policy: Any, reference: Any, batch: Batch, memory: Mapping[str, Any]
    ) -> tuple[tuple[Mean, ...], dict[str, Mean], dict[str, Any]]:
        """Each loss's Mean, all metrics, and what is remembered.

        Args:
          policy: what `batch.group` returned.
          reference: likewise, under the reference model, or None.
          batch: what the scores are of.
          memory: what the step before returned, or `memory()`.
        """
        means, metrics, remembered = [], {}, {}
        for name, term in zip(self.names, self.losses, strict=True):
            scores = policy, reference if term.facts["needs_reference"] else None
            if name in memory:
                mean, term_metrics, remembered[name] = term(*scores, batch, memory[name])
            else:
                mean, term_metrics = term(*scores, batch)
            means.append(mean)
            # Of what two terms measure each in its way, the first keeps the plain name.
            own = {f"{name}/{key}" if key in metrics else key: value for key, value in term_metrics.items()}
            metrics |= {f"loss/{name}": mean, **own}
        return tuple(means), metrics, remembered

    def value(self, means: Sequence[Mean], counts: Sequence[jax.Array]) -> jax.Array:
        """f32[]: the weighted sum, each term divided by its count over the whole batch: the one place that divides."""
        return sum(
            weight * mean.total / jnp.where(count == 0, 1.0, count)
            for weight, mean, count in zip(self.weights, means, counts, strict=True)
        )
