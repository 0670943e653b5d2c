"""Published checkpoints on disk: Hugging Face folders in, straight to the mesh, and out again."""

import collections
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from align_jax import sharding
from align_jax.models import kinds
from align_jax.models.architecture import HEAD, carry, open_family, stored_config, with_tie, write_config
from align_jax.models.families.base import Family, renamed
from align_jax.models.reading import packed, read, set_layer
from align_jax.models.stored import DTYPES, REFUSED, CheckpointError, Stored, whole, write_shards
from align_jax.models.weights import Tensor, to_theirs
from align_jax.types import Params

# Buffers that older versions of transformers stored, and that follow from the config.
COMPUTED = re.compile(r"(rotary_emb\.inv_freq|position_ids|embed_positions\.inv_freq)$")


class Pretrained(NamedTuple):
    """A published model with its parameters on the mesh."""

    family: Family
    params: Params


def from_pretrained(
    folder: str | Path,
    mesh: Mesh | Params | None = None,
    dtype: str | jnp.dtype | None = None,
    family: Family | None = None,
) -> Pretrained:
    """Reads a Hugging Face checkpoint, one tensor at a time, each device getting the part that it keeps.

    Args:
      folder: with config.json and one or more *.safetensors.
      mesh: where the parameters shall lie, by the model's partition rules, or a NamedSharding for each; all on one
        device if not given.
      dtype: of the parameters; that of the files if not given, or empty.
      family: if it has been opened already.

    Raises:
      CheckpointError: a file is missing or damaged, or tensors are missing, surplus or misshapen (all are named).
      ValueError: a setting that we cannot run.
    """
    family, stored = family or open_family(folder), Stored(folder)
    model = kinds.of(family.sizes)
    shapes = model.param_shapes(family.sizes)
    mesh = sharding.one_device() if mesh is None else mesh
    if isinstance(mesh, Mesh):
        mesh = sharding.shardings(mesh, sharding.match(shapes, model.rules(family.sizes), mesh))
    files = _match(family, shapes, stored)
    by_name = {tensor.ours: tensor for tensor in family.weights}

    def load(path, shape: jax.ShapeDtypeStruct, where: NamedSharding) -> jax.Array:
        tensor = by_name[sharding.path_name(path)]
        names = [files[name] for name in _layers(tensor, shape.shape)]
        kind = jax.dtypes.canonicalize_dtype(dtype or stored.dtype(names[0]))
        if "{}" not in tensor.theirs:
            return read(stored, names[0], tensor, shape.shape, kind, where)
        layer_where = NamedSharding(where.mesh, P(*where.spec[1:]))
        # Written layer by layer into an array that is already where it stays: the host never holds the stack.
        stack = jax.jit(lambda: jnp.zeros(shape.shape, kind), out_shardings=where)()
        for i, name in enumerate(names):
            stack = set_layer(stack, read(stored, name, tensor, shape.shape[1:], kind, layer_where), np.int32(i))
            stack.block_until_ready()  # else layers wait in a queue, all in memory
        return stack

    return Pretrained(family, jax.tree_util.tree_map_with_path(load, shapes, mesh))


def save_pretrained(
    folder: str | Path,
    family: Family,
    params: Params,
    *,
    like: str | Path,
    dtype: str | jnp.dtype | None = None,
    max_shard_bytes: int = 2**31,
) -> None:
    """Writes a folder that transformers opens; whole or not at all.

    Args:
      folder: to be made; must not exist.
      family: what the parameters are of.
      params: the parameters.
      like: checkpoint or folder that config, tokenizer and processor files come from.
      dtype: of the stored tensors; that of the parameters if not given.
      max_shard_bytes: where a new file begins.

    Raises:
      CheckpointError: the folder exists, or `like` has no config.json.
    """
    if not (Path(like) / "config.json").exists():
        raise CheckpointError(f"{like} has no config.json to carry along")
    with whole(folder) as partial:
        carry(like, partial)
        write_shards(partial, tensors(family, params, dtype), max_shard_bytes)
        stored = str(jnp.dtype(dtype or jax.tree.leaves(params)[0].dtype))
        config = with_tie(stored_config(partial), family.sizes.tied)
        write_config(partial, config | {"torch_dtype": stored, "dtype": stored})


def published_name(family: Family, name: str) -> str:
    """A tensor's name as the published checkpoints have it, which every version of transformers reads."""
    return renamed(name, family.published)


def tensors(family: Family, params: Params, dtype=None) -> Iterator[tuple[str, np.ndarray]]:
    """Every tensor under its published name, fetched from the mesh one at a time."""
    leaves = {sharding.path_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(params)}
    for tensor in family.weights:
        leaf = leaves[tensor.ours]
        for i, name in enumerate(_layers(tensor, leaf.shape)):
            array = np.asarray(jax.device_get(leaf[i] if "{}" in tensor.theirs else leaf))
            array = array if dtype is None else array.astype(jnp.dtype(dtype))
            yield published_name(family, name), packed(to_theirs(tensor, array))


def _layers(tensor: Tensor, shape: tuple[int, ...]) -> list[str]:
    """Names of a parameter's tensors: one, or one for each layer."""
    if "{}" not in tensor.theirs:
        return [tensor.theirs]
    return [tensor.theirs.format(tensor.first + i) for i in range(shape[0])]


def _match(family: Family, shapes: Params, stored: Stored) -> dict[str, str]:
    """Name that we expect -> name in the files; raises CheckpointError with everything that does not fit."""
    leaves = {sharding.path_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(shapes)}
    if unmapped := leaves.keys() ^ {tensor.ours for tensor in family.weights}:
        raise AssertionError(f"the weight map does not fit the model: {sorted(unmapped)}")
    surplus, files, problems = set(stored.names), {}, collections.defaultdict(list)
    for tensor in family.weights:
        shape = leaves[tensor.ours].shape
        expected = tensor.their_shape(shape[1:] if "{}" in tensor.theirs else shape)
        for name in _layers(tensor, shape):
            found = next((n for n in family.spellings(name) if n in surplus), None)
            if found is None:
                problems["missing"].append(f"{name} {expected}")
                continue
            files[name] = found
            surplus.discard(found)
            if stored.shape(found) != expected:
                problems["misshapen"].append(f"{found} is {stored.shape(found)}, expected {expected}")
            if stored.kind(found) not in DTYPES:
                problems[f"of a type that is not read ({REFUSED})"].append(f"{found} is {stored.kind(found)}")
    surplus = {name for name in surplus if not COMPUTED.search(name)}
    if family.sizes.tied:  # a head that is stored all the same is the embeddings (`_tied`)
        surplus = {name for name in surplus if not name.endswith(HEAD)}
    problems["surplus"] = sorted(surplus)
    if lines := [f"{len(names)} {kind}:\n    " + "\n    ".join(names) for kind, names in problems.items() if names]:
        raise CheckpointError(f"{stored.folder} does not hold the tensors of its config:\n  " + "\n  ".join(lines))
    return files
