"""Published checkpoints on disk: Hugging Face folders in, straight to the mesh, and out again."""

import collections
import json
import math
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from align_jax import sharding
from align_jax.models import families, mllm
from align_jax.models.families.base import Family
from align_jax.models.stored import DTYPES, REFUSED, CheckpointError, Stored, has_weights, whole, write_shards
from align_jax.models.weights import Tensor, to_ours, to_theirs
from align_jax.types import Params

# What a model needs besides its weights; carried along on export.
CARRIED = ("*.json", "*.jinja", "*.model", "*.txt", "*.tiktoken")
# Buffers that older versions of transformers stored, and that follow from the config.
COMPUTED = re.compile(r"(rotary_emb\.inv_freq|position_ids|embed_positions\.inv_freq)$")
HEAD = "lm_head.weight"  # how the name of every output layer ends
UNTIE = "set tie_word_embeddings to false wherever it is, if the head is meant"
ROWS = 4096  # of a matrix that are compared at a time
STRIP = 16  # columns of a matrix that are copied at a time


class Pretrained(NamedTuple):
    """A published model with its parameters on the mesh."""

    family: Family
    params: Params


def read_config(folder: str | Path) -> dict[str, Any]:
    """config.json of a checkpoint, with the defaults that transformers fills in.

    Raises:
      CheckpointError: no such file, not JSON, a `model_type` that no family opens, or quantised weights.
    """
    path = Path(folder) / "config.json"
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(stored, dict):
            raise ValueError("it holds no settings")
    except FileNotFoundError:
        raise CheckpointError(f"{folder} is not a Hugging Face checkpoint: it has no config.json") from None
    except ValueError as error:
        raise CheckpointError(f"{path} is not the JSON of a config: {error}") from None
    if stored.get("model_type") not in families.names():
        raise CheckpointError(
            f"{path} is of model_type {stored.get('model_type')!r}, which no family opens; there are: "
            f"{', '.join(families.names())}"
        )
    if how := stored.get("quantization_config"):
        raise CheckpointError(f"{path}: the weights are quantised ({how.get('quant_method')}); {REFUSED}")
    from transformers import AutoConfig  # slow to import, and models that are made here do without

    return AutoConfig.from_pretrained(folder, local_files_only=True).to_dict()


def open_family(folder: str | Path) -> Family:
    """The architecture of a checkpoint, without its parameters.

    Raises:
      CheckpointError: see `read_config`.
      ValueError: a setting that we cannot run.
    """
    hf = read_config(folder)
    # Configs and files disagree in published checkpoints; without a head, the embeddings are it.
    if has_weights(folder) and not any(name.endswith(HEAD) for name in Stored(folder).names):
        hf["tie_word_embeddings"] = True
    return families.build(hf)


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
    shapes = mllm.param_shapes(family.sizes)
    mesh = sharding.one_device() if mesh is None else mesh
    if isinstance(mesh, Mesh):
        mesh = sharding.shardings(mesh, sharding.match(shapes, mllm.rules(family.sizes), mesh))
    files = _match(family, shapes, stored)
    by_name = {tensor.ours: tensor for tensor in family.weights}

    def load(path, shape: jax.ShapeDtypeStruct, where: NamedSharding) -> jax.Array:
        tensor = by_name[sharding.path_name(path)]
        names = [files[name] for name in _layers(tensor, shape.shape)]
        kind = jax.dtypes.canonicalize_dtype(dtype or stored.dtype(names[0]))
        if "{}" not in tensor.theirs:
            return _read(stored, names[0], tensor, shape.shape, kind, where)
        layer_where = NamedSharding(where.mesh, P(*where.spec[1:]))
        # Written layer by layer into an array that is already where it stays: the host never holds the stack.
        stack = jax.jit(lambda: jnp.zeros(shape.shape, kind), out_shardings=where)()
        for i, name in enumerate(names):
            stack = _set_layer(stack, _read(stored, name, tensor, shape.shape[1:], kind, layer_where), np.int32(i))
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
        tied = {"tie_word_embeddings": True} if family.sizes.decoder.tie_embeddings else {}
        _change_config(partial, {"torch_dtype": stored, "dtype": stored} | tied)


def carry(source: str | Path, target: str | Path) -> None:
    """Copies what a model needs besides its weights, and into the config what only the weights say.

    Raises:
      CheckpointError, ValueError: see `open_family`.
    """
    Path(target).mkdir(parents=True, exist_ok=True)
    for pattern in CARRIED:
        for path in Path(source).glob(pattern):
            if not path.name.endswith(".index.json"):
                shutil.copy(path, target)
    if has_weights(source) and open_family(source) != families.build(read_config(source)):
        _change_config(target, {"tie_word_embeddings": True})


def _change_config(folder: str | Path, changes: Mapping[str, Any]) -> None:
    path = Path(folder) / "config.json"
    config = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def published_name(family: Family, name: str) -> str:
    """A tensor's name as the published checkpoints have it, which every version of transformers reads."""
    for ours, theirs in family.published:
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    return name


def tensors(family: Family, params: Params, dtype=None) -> Iterator[tuple[str, np.ndarray]]:
    """Every tensor under its published name, fetched from the mesh one at a time."""
    leaves = {sharding.path_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(params)}
    for tensor in family.weights:
        leaf = leaves[tensor.ours]
        for i, name in enumerate(_layers(tensor, leaf.shape)):
            array = np.asarray(jax.device_get(leaf[i] if "{}" in tensor.theirs else leaf))
            array = array if dtype is None else array.astype(jnp.dtype(dtype))
            yield published_name(family, name), _packed(to_theirs(tensor, array))


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
            found = next((n for n in (name, published_name(family, name)) if n in surplus), None)
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
    if family.sizes.decoder.tie_embeddings:
        embed = next(files.get(tensor.theirs) for tensor in family.weights if tensor.ours == "decoder/embed/embedding")
        heads = {name for name in surplus if name.endswith(HEAD)}
        surplus -= heads
        problems[f"different, and the config says that they are one; {UNTIE}"] = [
            f"{head} and {embed}" for head in heads if embed is not None and not _equal(stored, head, embed)
        ]
    problems["surplus"] = sorted(surplus)
    if lines := [f"{len(names)} {kind}:\n    " + "\n    ".join(names) for kind, names in problems.items() if names]:
        raise CheckpointError(f"{stored.folder} does not hold the tensors of its config:\n  " + "\n  ".join(lines))
    return files


def _equal(stored: Stored, a: str, b: str) -> bool:
    """Whether two tensors hold the same values."""
    if stored.shape(a) != stored.shape(b):
        return False
    rows, columns = stored.shape(a)
    blocks = [(slice(i, min(i + ROWS, rows)), slice(0, columns)) for i in range(0, rows, ROWS)]
    return all(np.array_equal(stored.read(a, *block), stored.read(b, *block)) for block in blocks)


def _read(stored: Stored, name: str, tensor: Tensor, shape: Sequence[int], dtype, where: NamedSharding) -> jax.Array:
    """One tensor, as our parameter (of one layer), of which every device gets its part; each part is read once."""
    parts = {}

    def part(index: tuple[slice, ...]) -> np.ndarray:
        bounds = tuple(s.indices(n)[:2] for s, n in zip(index, shape, strict=True))
        if bounds not in parts:  # else another device keeps the same
            block = _their_block(tensor, shape, bounds)
            if block is None:
                ours = to_ours(tensor, stored.read(name), shape)[index]
            else:
                ours = to_ours(tensor, stored.read(name, *block), [stop - start for start, stop in bounds])
            parts[bounds] = _packed(ours.astype(dtype, copy=False))
        return parts[bounds]

    return jax.make_array_from_callback(tuple(shape), where, part)


def _their_block(tensor: Tensor, shape: Sequence[int], bounds: Sequence[tuple[int, int]]) -> tuple[slice, ...] | None:
    """Slices of their tensor that hold a part of ours; None where they are not one block, or it is not worth it."""
    if tensor.conv or tensor.shape:
        return None
    axes = range(len(shape))
    if tensor.inputs:
        groups = [axes[tensor.inputs :], axes[: tensor.inputs]]
    else:
        groups = [axes] if tensor.flat else [[a] for a in axes]
    block = []
    for first, *rest in groups:
        if any(bounds[a] != (0, shape[a]) for a in rest):
            return None
        size = math.prod(shape[a] for a in rest)
        block.append(slice(bounds[first][0] * size, bounds[first][1] * size))
    return tuple(block)


def _packed(array: np.ndarray) -> np.ndarray:
    """The same values, contiguous.

    NumPy copies a transposed matrix value by value, each from another cache line; in strips it is five times as fast.
    """
    if array.flags.c_contiguous:
        return array
    packed = np.empty(array.shape, array.dtype)
    for i in range(0, array.shape[-1], STRIP):
        packed[..., i : i + STRIP] = array[..., i : i + STRIP]
    return packed


@jax.jit(donate_argnums=0)
def _set_layer(stack: jax.Array, layer: jax.Array, i: jax.Array) -> jax.Array:
    return jax.lax.dynamic_update_index_in_dim(stack, layer, i, axis=0)
