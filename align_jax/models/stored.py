"""The tensors of a Hugging Face folder: one or many safetensors files, read and written one tensor at a time."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


class CheckpointError(ValueError):
    """A folder is not a checkpoint, is damaged, or does not fit."""


class Stored:
    """Names, shapes and values of a folder's tensors. Files are mapped, so only what is asked for is read."""

    def __init__(self, folder: str | Path):
        """
        Raises:
          CheckpointError: no safetensors there, or a file is missing or damaged; names it, and says what to do.
        """
        self.folder = Path(folder)
        self._files = {path.name: _open(path) for path in self._paths()}
        self._where = {name: file for file, opened in self._files.items() for name in opened.keys()}  # noqa: SIM118
        self._check_index()

    @property
    def names(self) -> set[str]:
        return set(self._where)

    def shape(self, name: str) -> tuple[int, ...]:
        """Of a tensor."""
        return tuple(self._slice(name).get_shape())

    def dtype(self, name: str) -> str:
        """Of a tensor, as NumPy names it.

        Raises:
          CheckpointError: the tensor is quantised, or of whole numbers.
        """
        kind = self._slice(name).get_dtype()
        if kind not in DTYPES:
            raise CheckpointError(
                f"{self.folder / self._where[name]}: {name} is of type {kind}: only float64, float32, float16 and "
                "bfloat16 are read; take the checkpoint that is not quantised"
            )
        return DTYPES[kind]

    def read(self, name: str, rows: slice | None = None, columns: slice | None = None) -> np.ndarray:
        """Values of a tensor, or of a block of a matrix."""
        self.dtype(name)
        part = self._slice(name)
        if rows is None:
            return self._files[self._where[name]].get_tensor(name)
        return part[rows, columns]

    def _slice(self, name: str):
        return self._files[self._where[name]].get_slice(name)

    def _paths(self) -> list[Path]:
        if not self.folder.is_dir():
            raise CheckpointError(f"there is no folder {self.folder}")
        if (self.folder / INDEX).exists():
            return [self.folder / name for name in sorted(set(self._index().values()))]
        if (self.folder / SINGLE).exists():
            return [self.folder / SINGLE]
        if paths := sorted(self.folder.glob("*.safetensors")):
            return [path for path in paths if not path.name.startswith("adapter_")]
        if any(self.folder.glob("*.bin")):
            raise CheckpointError(
                f"{self.folder} holds *.bin files only, which can run code when they are opened: convert it once, where "
                "PyTorch is installed, with transformers: "
                "AutoModelForImageTextToText.from_pretrained(folder).save_pretrained(new_folder)"
            )
        raise CheckpointError(f"{self.folder} holds no *.safetensors")

    def _index(self) -> dict[str, str]:
        try:
            return json.loads((self.folder / INDEX).read_text(encoding="utf-8"))["weight_map"]
        except (ValueError, KeyError) as error:
            raise CheckpointError(f"{self.folder / INDEX} is damaged ({error!r}): download it again") from None

    def _check_index(self) -> None:
        if not (self.folder / INDEX).exists():
            return
        if lost := [f"{name} of {file}" for name, file in self._index().items() if self._where.get(name) != file]:
            raise CheckpointError(f"{self.folder / INDEX} names tensors that its files lack: {', '.join(lost)}")


def _open(path: Path):
    if not path.exists():
        raise CheckpointError(f"{path} is missing, and {INDEX} names it: download the checkpoint again")
    try:
        return safe_open(path, "np")
    except (SafetensorError, OSError) as error:
        size = path.stat().st_size
        raise CheckpointError(f"{path} is damaged or cut off ({error}; {size} bytes): download it again") from None


def write_shards(folder: Path, tensors: Iterator[tuple[str, np.ndarray]], max_bytes: int) -> None:
    """Writes tensors into files of up to `max_bytes`, named as transformers names them, with an index if several."""
    shard, size, shards, total = {}, 0, [], 0

    def flush() -> None:
        path = folder / f"shard-{len(shards)}.safetensors"
        save_file(shard, path, metadata={"format": "pt"})
        shards.append((path, list(shard)))

    for name, array in tensors:
        if shard and size + array.nbytes > max_bytes:
            flush()
            shard, size = {}, 0
        shard[name], size, total = array, size + array.nbytes, total + array.nbytes
    flush()
    if len(shards) == 1:
        shards[0][0].rename(folder / SINGLE)
        return
    where = {}
    for i, (path, names) in enumerate(shards, 1):
        target = folder / f"model-{i:05}-of-{len(shards):05}.safetensors"
        path.rename(target)
        where |= dict.fromkeys(names, target.name)
    index = {"metadata": {"total_size": total}, "weight_map": where}
    (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
