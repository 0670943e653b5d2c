"""Meshes, partition rules by parameter path, and batches that are global over hosts.

The mesh has three axes: `data` (replicas), `fsdp` (replicas that share the storage of parameters) and `tensor` (parts
of one matrix product). Batches lie on `data` and `fsdp`; rules say where parameters lie.
"""

import math
import re
from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from align_jax.types import Params

AXES = ("data", "fsdp", "tensor")
BATCH = ("data", "fsdp")  # the mesh axes that rows of a batch lie on

Rules = Sequence[tuple[str, P]]


def make_mesh(data: int = 1, fsdp: int = -1, tensor: int = 1) -> Mesh:
    """Mesh over all devices; one size may be -1, which takes what is left.

    Raises:
      ValueError: the sizes do not multiply to the number of devices.
    """
    sizes, devices = [data, fsdp, tensor], jax.device_count()
    if sizes.count(-1) == 1:
        sizes[sizes.index(-1)] = devices // -int(np.prod(sizes))
    if -1 in sizes or np.prod(sizes) != devices:
        raise ValueError(f"mesh data={data}, fsdp={fsdp}, tensor={tensor} does not fit {devices} devices")
    # The default, Explicit axes, is refused by Linen.
    return jax.make_mesh(tuple(sizes), AXES, axis_types=(AxisType.Auto,) * len(AXES))


def one_device() -> Mesh:
    """A mesh of the first device alone."""
    return jax.make_mesh((1, 1, 1), AXES, axis_types=(AxisType.Auto,) * len(AXES), devices=jax.devices()[:1])


def match(params: Params, rules: Rules, mesh: Mesh | None = None) -> Params:
    """The PartitionSpec of every parameter: that of the one rule whose pattern is found in its path (`"a/b/kernel"`).

    With a mesh, axes that do not divide over it stay whole: two key-value heads on four devices, say.

    Raises:
      ValueError: a parameter without a rule, with several, or a rule without a parameter.
    """
    used = set()

    def spec(path, leaf) -> P:
        name = path_name(path)
        found = [(pattern, spec) for pattern, spec in rules if re.search(pattern, name)]
        if len(found) != 1:
            raise ValueError(f"parameter {name} {leaf.shape} matches {len(found)} partition rules: {found}")
        used.add(found[0][0])
        return found[0][1] if mesh is None else _dividing(found[0][1], leaf.shape, mesh)

    specs = jax.tree_util.tree_map_with_path(spec, params)
    if unused := [pattern for pattern, _ in rules if pattern not in used]:
        raise ValueError(f"partition rules that match no parameter: {unused}")
    return specs


def _dividing(spec: P, shape: Sequence[int], mesh: Mesh) -> P:
    def parts(axes: str | tuple[str, ...] | None) -> int:
        names = axes if isinstance(axes, tuple) else (axes,) if axes else ()
        return math.prod(mesh.shape[name] for name in names)

    return P(*(axes if size % parts(axes) == 0 else None for axes, size in zip(spec, shape, strict=False)))


def path_name(path) -> str:
    """`"decoder/layers/mlp/up/kernel"` from a path of `jax.tree_util`."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def shardings(mesh: Mesh, specs: Params) -> Params:
    """NamedShardings for a tree of PartitionSpecs."""
    return jax.tree.map(lambda spec: NamedSharding(mesh, spec), specs, is_leaf=lambda x: isinstance(x, P))


def on(shapes: Params, where: Params) -> Params:
    """Shapes that also say where the arrays lie: what a checkpoint is restored into."""
    return jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), shapes, where)


def constrain(x: jax.Array, *spec) -> jax.Array:
    """Asks the compiler to lay `x` out by `spec`; does nothing outside `jax.set_mesh`."""
    return x if jax.sharding.get_abstract_mesh().empty else jax.lax.with_sharding_constraint(x, P(*spec))


def to_mesh(mesh: Mesh, batch):
    """A global batch from this host's rows: leading axes lie on `BATCH`.

    Raises:
      ValueError: the number of rows does not divide over the mesh.
    """
    parts, hosts = mesh.shape["data"] * mesh.shape["fsdp"], jax.process_count()
    sharding = NamedSharding(mesh, P(BATCH))

    def put(x):
        if len(x) * hosts % parts:
            raise ValueError(
                f"a batch of {len(x) * hosts} rows does not divide over {parts} shards (mesh {mesh.shape})"
            )
        return jax.make_array_from_process_local_data(sharding, np.asarray(x))

    return jax.tree.map(put, batch)
