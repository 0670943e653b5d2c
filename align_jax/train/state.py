"""What a training run carries from step to step, and how it lies on the mesh."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from align_jax import sharding
from align_jax.types import Params, pytree


@pytree
class TrainState:
    step: jax.Array  # i32[]
    params: Params  # float32, trained and frozen ones
    opt_state: Any  # for the trained parameters only
    memory: Any  # of losses that have one


def split_frozen(params: Params, frozen: Sequence[str]) -> tuple[dict, Callable[[dict], Params]]:
    """The trained parameters as `{path: array}`, and a function that puts them back among the frozen ones.

    Args:
      params: all parameters.
      frozen: patterns; a parameter whose path contains one is frozen.

    Raises:
      ValueError: a pattern that matches nothing, or nothing is left to train.
    """
    paths, treedef = jax.tree_util.tree_flatten_with_path(params)
    leaves = {sharding.path_name(path): leaf for path, leaf in paths}
    for pattern in frozen:
        if not any(re.search(pattern, name) for name in leaves):
            raise ValueError(f"frozen pattern {pattern!r} matches no parameter; there are: {', '.join(leaves)}")
    trained = {n: x for n, x in leaves.items() if not any(re.search(pattern, n) for pattern in frozen)}
    if not trained:
        raise ValueError(f"frozen patterns {list(frozen)} leave nothing to train")

    def merge(trained: dict) -> Params:
        return jax.tree.unflatten(treedef, [trained.get(name, leaf) for name, leaf in leaves.items()])

    return trained, merge


def create(
    params: Params, tx: optax.GradientTransformation, frozen: Sequence[str] = (), memory: Any = None
) -> TrainState:
    """The state at step 0; `memory` is that of the objective."""
    return TrainState(jnp.zeros((), jnp.int32), params, tx.init(split_frozen(params, frozen)[0]), memory or {})


def state_shardings(mesh: Mesh, state: TrainState, rules: sharding.Rules, frozen: Sequence[str]) -> TrainState:
    """Where a state lies: parameters by `rules`, the optimizer's moments like their parameters, the rest everywhere.

    Args:
      mesh: the mesh.
      state: a state or its shapes.
      rules: partition rules of the model.
      frozen: as in `create`.
    """
    specs = sharding.match(state.params, rules, mesh)
    moments = split_frozen(specs, frozen)[0]

    def moment_spec(path, leaf) -> P:
        name = next((key.key for key in reversed(path) if isinstance(key, jax.tree_util.DictKey)), None)
        return moments[name] if name in moments and leaf.ndim == len(moments[name]) else P()

    opt_specs = jax.tree_util.tree_map_with_path(moment_spec, state.opt_state)
    memory_specs = jax.tree.map(lambda _: P(), state.memory)
    return sharding.shardings(mesh, TrainState(P(), specs, opt_specs, memory_specs))
