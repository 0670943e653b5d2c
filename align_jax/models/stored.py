"""The tensors of a Hugging Face folder: one or many safetensors files, read and written one tensor at a time."""

import collections
import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
REFUSED = f"only {', '.join(DTYPES.values())} are read: take the checkpoint that is not quantised"
# Bytes of a damaged file that tell it for what a clone without Git LFS leaves in the place of weights.
LFS_POINTER = b"version https://git-lfs"


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
        index = _index(self.folder)
        self._files = {path.name: _open(path) for path in _paths(self.folder, index)}
        holders = collections.defaultdict(list)
        for file, opened in self._files.items():
            for name in opened.keys():  # noqa: SIM118
                holders[name].append(file)
        if twice := [f"{name} in {' and '.join(files)}" for name, files in holders.items() if len(files) > 1]:
            raise CheckpointError(f"{self.folder} holds tensors twice; keep one set of files: {', '.join(twice)}")
        self._where = {name: file for name, (file,) in holders.items()}
        if lost := [f"{name} of {file}" for name, file in index.items() if self._where.get(name) != file]:
            raise CheckpointError(
                f"{self.folder / INDEX} names tensors that its files lack, so they are not of one download: "
                f"{', '.join(lost)}"
            )

    @property
    def names(self) -> set[str]:
        return set(self._where)

    def shape(self, name: str) -> tuple[int, ...]:
        """Of a tensor."""
        return tuple(self._slice(name).get_shape())

    def kind(self, name: str) -> str:
        """Type of a tensor as the format names it, which may be one that is not read: "BF16", "I8", "F8_E4M3"."""
        return self._slice(name).get_dtype()

    def dtype(self, name: str) -> str:
        """Type of a tensor as NumPy names it.

        Raises:
          CheckpointError: the tensor is quantised, or of whole numbers.
        """
        if self.kind(name) not in DTYPES:
            raise CheckpointError(f"{self.folder / self._where[name]}: {name} is of type {self.kind(name)}; {REFUSED}")
        return DTYPES[self.kind(name)]

    def read(self, name: str, *index: slice) -> np.ndarray:
        """Values of a tensor, or of the block that slices cut out of it: one for each axis, of step 1, in bounds.

        Raises:
          CheckpointError: see `dtype`.
        """
        self.dtype(name)
        return self._slice(name)[index] if index else self._files[self._where[name]].get_tensor(name)

    def _slice(self, name: str):
        return self._files[self._where[name]].get_slice(name)


def has_weights(folder: str | Path) -> bool:
    """Whether a folder holds tensors, or says that it should."""
    return (Path(folder) / INDEX).exists() or any(_models(Path(folder)))


@contextlib.contextmanager
def whole(folder: str | Path) -> Iterator[Path]:
    """A folder to write into that gets its name when all is written, and is removed if that fails.

    Raises:
      CheckpointError: the folder exists.
    """
    folder, partial = Path(folder), Path(f"{folder}.partial")
    if folder.exists():
        raise CheckpointError(f"{folder} exists: choose another, or remove it")
    shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed
    partial.mkdir(parents=True)
    try:
        yield partial
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


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


def _index(folder: Path) -> dict[str, str]:
    """Name of each tensor -> its file, as the index says; empty if there is none."""
    try:
        files = json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"]
        return {str(name): str(file) for name, file in files.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{folder / INDEX} is damaged ({error!r}): download it again") from None


def _models(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.safetensors") if not path.name.startswith("adapter_"))


def _paths(folder: Path, index: dict[str, str]) -> list[Path]:
    if not folder.is_dir():
        raise CheckpointError(f"there is no folder {folder}")
    if index:
        return [folder / name for name in sorted(set(index.values()))]
    if (folder / SINGLE).exists():
        return [folder / SINGLE]
    if paths := _models(folder):
        return paths
    if any(folder.glob("*.bin")):
        raise CheckpointError(
            f"{folder} holds *.bin files only, which can run code when they are opened: convert it once, where "
            "PyTorch is installed, with transformers: AutoModelForImageTextToText.from_pretrained(folder)"
            ".save_pretrained(new_folder), or AutoModelForCausalLM for a text model"
        )
    raise CheckpointError(f"{folder} holds no *.safetensors of a model")


def _open(path: Path):
    if not path.exists():
        raise CheckpointError(f"{path} is missing, and {INDEX} names it: download the checkpoint again")
    try:
        return safe_open(path, "np")
    except (SafetensorError, OSError, ValueError) as error:
        with path.open("rb") as file:
            pointer = file.read(len(LFS_POINTER)) == LFS_POINTER
        cause = (
            "is a Git LFS pointer and not the file itself: run `git lfs pull`"
            if pointer
            else (f"is damaged or cut off ({error}; {path.stat().st_size} bytes): download it again")
        )
        raise CheckpointError(f"{path} {cause}") from None
