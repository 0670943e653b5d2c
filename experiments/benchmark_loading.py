"""Memory and time of loading a published checkpoint, against the plain way: read all, then put it on the device.

    python experiments/benchmark_loading.py                   # 2 GB in 8 shards, made up in a temporary folder
    python experiments/benchmark_loading.py --gigabytes=13.5  # Llama 2 7B; the plain way needs 40 GB for it

Each way runs in a fresh process and ends with the same parameters. The process watches its own memory in
/proc/self/status (Linux): RssAnon is what it allocated; RssFile are pages of mapped files, which the system takes back
when it needs them: they are shown, and do not count. What Python, JAX and transformers hold before is subtracted. On a
CPU the parameters are themselves in RssAnon, and what is above them is the cost of loading; on an accelerator they are
not, and all of RssAnon is. Files have just been written, so they come from the system's cache.
"""

import json
import math
import multiprocessing
import sys
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from rich.console import Console
from rich.table import Table
from safetensors.numpy import load_file

from align_jax import sharding
from align_jax.models import architecture, mllm, pretrained
from align_jax.models.families.base import Family
from align_jax.models.stored import Stored, write_shards
from align_jax.models.weights import Tensor, to_ours
from align_jax.types import Params
from experiments import console as script

GIGABYTES = flags.DEFINE_float("gigabytes", 2.0, "Size of the made-up checkpoint.")
SHARDS = flags.DEFINE_integer("shards", 8, "Files that it is cut into, about.")
FOLDER = flags.DEFINE_string("folder", None, "Where it is made for the time being; a temporary folder if not given.")
LIMIT = flags.DEFINE_float("limit", 300.0, "MB that from_pretrained may hold above the parameters; more is an error.")
OUT = flags.DEFINE_string("out", None, "Also write the figures to this JSON file.")

SMALL = dict(hidden_size=2048, intermediate_size=5632, num_attention_heads=16)
LARGE = dict(hidden_size=4096, intermediate_size=11008, num_attention_heads=32)  # Llama 2 7B
VOCAB = 32000


def make_checkpoint(folder: Path, gigabytes: float, shards: int) -> None:
    """A Llama in bfloat16, random, of about this size."""
    sizes = LARGE if gigabytes > 8 else SMALL
    dim, mlp_dim = sizes["hidden_size"], sizes["intermediate_size"]
    layers = round((gigabytes * 1e9 / 2 - 2 * VOCAB * dim) / (4 * dim**2 + 3 * dim * mlp_dim))
    if layers < 1:
        raise ValueError(f"--gigabytes={gigabytes} leaves no room for a layer")
    config = {"model_type": "llama", "vocab_size": VOCAB, "num_hidden_layers": layers, **sizes}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    family, rng = architecture.open_family(folder), np.random.default_rng(0)
    shapes = parameter_shapes(family)

    def tensors():
        for tensor in family.weights:
            shape = shapes[tensor.ours]
            for name in names_of(tensor, shape):
                theirs = tensor.their_shape(shape[1:] if "{}" in tensor.theirs else shape)
                bits = rng.integers(0x3C00, 0x3F00, theirs, np.uint16)  # from 0.008 to 0.5
                yield name, bits.view(jnp.bfloat16)

    total = 2 * sum(map(math.prod, shapes.values()))
    write_shards(folder, tensors(), int(1.04 * total / shards))


def parameter_shapes(family: Family) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(mllm.param_shapes(family.sizes))
    return {sharding.path_name(path): leaf.shape for path, leaf in leaves}


def names_of(tensor: Tensor, shape: tuple[int, ...]) -> list[str]:
    return [tensor.theirs.format(i) for i in range(shape[0] if "{}" in tensor.theirs else 1)]


class Watch:
    """The largest RssAnon and RssFile, in bytes, above those at its start."""

    def __enter__(self) -> "Watch":
        self.start = self.peak = resident()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def _run(self) -> None:
        while not self._done.wait(0.01):
            self.peak = tuple(map(max, self.peak, resident()))

    def __exit__(self, *_) -> None:
        self._done.set()
        self._thread.join()
        self.anon, self.file = (peak - start for peak, start in zip(self.peak, self.start, strict=True))


def resident() -> tuple[int, int]:
    """RssAnon and RssFile of this process, in bytes."""
    status = Path("/proc/self/status").read_text().splitlines()
    found = dict(line.split(":", 1) for line in status if line.startswith("Rss"))
    return tuple(1024 * int(found[name].split()[0]) for name in ("RssAnon", "RssFile"))


def one_by_one(folder: str, family: Family) -> Params:
    return pretrained.from_pretrained(folder, family=family).params


def all_at_once(folder: str, family: Family) -> Params:
    """What needs no thought: everything in host memory, then on the device."""
    stored, shapes = {}, parameter_shapes(family)
    for path in sorted(Path(folder).glob("*.safetensors")):
        stored |= load_file(path)
    params = {}
    for tensor in family.weights:
        shape = shapes[tensor.ours]
        if "{}" in tensor.theirs:
            params[tensor.ours] = np.stack([to_ours(tensor, stored[n], shape[1:]) for n in names_of(tensor, shape)])
        else:
            params[tensor.ours] = to_ours(tensor, stored[tensor.theirs], shape)
    return jax.device_put(params)


WAYS = {"from_pretrained": one_by_one, "all at once": all_at_once}


def measure(way: str, folder: str) -> dict[str, float]:
    """Loads in this process, which must be a fresh one."""
    family = architecture.open_family(folder)
    jax.block_until_ready(jax.jit(lambda x: x + 1)(np.zeros(8)))  # starts the compiler
    with Watch() as watch:
        start = time.perf_counter()
        params = jax.block_until_ready(WAYS[way](folder, family))
        seconds = time.perf_counter() - start
    size = sum(x.nbytes for x in jax.tree.leaves(params))
    held = size if jax.default_backend() == "cpu" else 0
    check = float(sum(x.sum(dtype=jnp.float32) for x in jax.tree.leaves(params)))
    return {
        "parameters": size,
        "above": watch.anon - held,
        "file": watch.file,
        "seconds": seconds,
        "rate": size / 1e9 / seconds,
        "sum": check,
    }


def main(_):
    console = Console()
    with tempfile.TemporaryDirectory(dir=FOLDER.value) as folder:
        make_checkpoint(Path(folder), GIGABYTES.value, SHARDS.value)
        figures = {"device": jax.devices()[0].device_kind, "shards": len(list(Path(folder).glob("*.safetensors")))}
        stored = Stored(folder)
        figures["largest"] = 2 * max(math.prod(stored.shape(name)) for name in stored.names)
        for way in WAYS:
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
                figures[way] = fresh.submit(measure, way, folder).result()
    columns = [figures[way] for way in WAYS]
    table = Table("", *WAYS, title=f"{figures['shards']} shards, {figures['device']}")
    for name, key, unit in (
        ("parameters, MB", "parameters", 1e6),
        ("peak above the parameters, MB", "above", 1e6),
        ("mapped files at the peak, MB", "file", 1e6),
        ("seconds", "seconds", 1),
        ("GB/s", "rate", 1),
    ):
        table.add_row(name, *(f"{column[key] / unit:,.2f}" for column in columns))
    console.print(table)
    console.print(f"largest tensor: {figures['largest'] / 1e6:,.0f} MB")
    if OUT.value:
        Path(OUT.value).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    if len({column["sum"] for column in columns}) > 1:
        sys.exit("error: the two ways loaded different parameters")
    if (above := columns[0]["above"] / 1e6) > LIMIT.value:
        sys.exit(f"error: from_pretrained held {above:.0f} MB above the parameters, the limit is {LIMIT.value:.0f}")


if __name__ == "__main__":
    script.start(main)
