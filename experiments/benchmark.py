"""Speed and memory of a DPO step: prompt trees against the same model fed each completion with a prompt of its own.

    python experiments/benchmark.py                                        # the quickstart's model
    python experiments/benchmark.py --prompt=608 --completion=128 --rows=1 # LLaVA's 576 image tokens

Both forms take turns, step by step, on the same data and reference, so that a busy machine slows both; the ratio is
the median over rounds. Times are process CPU seconds where the computation runs on the CPU, else wall seconds.
"""

import dataclasses
import json
import re
import time

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from ml_collections import config_flags
from rich.console import Console
from rich.table import Table

from align_jax.losses import Objective
from align_jax.models import mllm
from align_jax.models.flops import tree_flops
from align_jax.models.mllm import MLLMConfig
from align_jax.train import optimizer, state
from align_jax.train.step import make_update
from align_jax.types import PreferenceBatch, PromptTree, Scores, Tiles, pytree
from experiments import console as script

CONFIG = config_flags.DEFINE_config_file("config", "configs/dpo.py", "Whose model and loss; data are random.")
ROWS = flags.DEFINE_integer("rows", 32, "Pairs in a batch.")
PROMPT = flags.DEFINE_integer("prompt", 16, "Prompt tokens, placeholders of the picture included.")
COMPLETION = flags.DEFINE_integer("completion", 18, "Completion tokens.")
VOCAB = flags.DEFINE_integer("vocab", 512, "Size of the vocabulary.")
ROUNDS = flags.DEFINE_integer("rounds", 20, "Steps of each form that are timed.")
OUT = flags.DEFINE_string("out", None, "Also write the figures to this JSON file.")


@pytree
class SeparateRows(PreferenceBatch):
    """The same pairs, but every completion is a tree of its own: rows 0, 2, ... chosen, rows 1, 3, ... rejected."""

    def group(self, scores: tuple[Scores, ...]):
        split = jax.tree.map(lambda x: x[:, 0].reshape(-1, 2, *x.shape[2:]), scores[0])
        return super().group((split,))


def as_separate_rows(batch: PreferenceBatch) -> SeparateRows:
    """Repeats prompt and picture for each completion, as trainers do that have no trees."""
    tree = batch.tree
    twice = lambda x: jnp.repeat(x, 2, axis=0)  # noqa: E731
    alone = lambda x: x.reshape(-1, 1, x.shape[-1])  # noqa: E731
    rows = PromptTree(
        twice(tree.prompt),
        twice(tree.prompt_mask),
        jax.tree.map(twice, tree.media),
        *(alone(x) for x in (tree.tokens, tree.targets, tree.mask)),
    )
    return SeparateRows(rows, batch.weight)


def random_batch(config: MLLMConfig, pictures: int) -> PreferenceBatch:
    rng = np.random.default_rng(0)
    rows, length, size = ROWS.value, COMPLETION.value, config.vision.image_size
    prompt = rng.integers(5, VOCAB.value, (rows, PROMPT.value))
    prompt[:, 1 : 1 + pictures * config.tokens_per_picture] = config.placeholders[0]
    tokens = lambda: jnp.asarray(rng.integers(5, VOCAB.value, (rows, 2, length)), jnp.int32)  # noqa: E731
    media = Tiles(jnp.asarray(rng.normal(size=(rows, pictures, size, size, 3)), jnp.float32))
    mask = jnp.ones((rows, 2, length))
    tree = PromptTree(jnp.asarray(prompt, jnp.int32), jnp.ones(prompt.shape), media, tokens(), tokens(), mask)
    return PreferenceBatch(tree, jnp.ones(rows))


def prepare(config, sizes: MLLMConfig, batch: PreferenceBatch) -> dict:
    """A compiled step with its state."""
    policy, frozen = mllm.build(sizes), tuple(config.frozen)
    params = jax.jit(policy.init)(jax.random.key(0), batch.tree)
    tx, _ = optimizer.build(steps=1000, matrix_axes=mllm.matrix_axes, **config.optimizer.to_dict())
    objective = dataclasses.replace(Objective.build(config.loss), batch=type(batch))
    update = jax.jit(make_update(policy, objective, tx, frozen=frozen, chunk=config.score_chunk), donate_argnums=0)
    current, reference = state.create(jax.tree.map(jnp.copy, params), tx, frozen), params
    start = time.perf_counter()
    compiled = update.lower(current, reference, batch).compile()
    return {
        "compile": time.perf_counter() - start,
        "memory": compiled.memory_analysis().temp_size_in_bytes,
        "largest": largest_array(compiled.as_text()),
        "all_logits": 4 * batch.tree.mask.size // COMPLETION.value * (PROMPT.value + COMPLETION.value) * VOCAB.value,
        "step": compiled,
        "args": [current, reference, batch],
        "seconds": [],
    }


def largest_array(hlo: str) -> tuple[str, int]:
    """Shape and elements of the largest float array in a compiled program."""
    shapes = set(re.findall(r"\b(?:f32|bf16)\[([\d,]+)\]", hlo))
    sized = {shape: int(np.prod([int(n) for n in shape.split(",")])) for shape in shapes}
    return max(sized.items(), key=lambda item: item[1])


def run_once(form: dict) -> None:
    clock = time.process_time if jax.default_backend() == "cpu" else time.perf_counter
    start = clock()
    form["args"][0], metrics = form["step"](*form["args"])
    form["loss"] = float(metrics["loss"].value)  # waits for the step
    form["seconds"].append(clock() - start)


def main(_):
    config, console = CONFIG.value, Console()
    settings = config.model.to_dict()
    sizes = MLLMConfig.from_dict(
        {**settings, "decoder": {**settings["decoder"], "vocab_size": VOCAB.value}, "placeholders": (3,)}
    )
    pictures = config.image.grid**2
    batch = random_batch(sizes, pictures)
    forms = {"prompt trees": prepare(config, sizes, batch)}
    forms["separate rows"] = prepare(config, sizes, as_separate_rows(batch))
    for round_ in range(ROUNDS.value + 1):
        for form in forms.values():
            run_once(form)
            if round_ == 0:  # warms up
                form["seconds"].clear()
    trees, rows = forms.values()
    per_tree = dict(pictures=pictures, prompt=PROMPT.value, length=COMPLETION.value)
    flops = {
        name: n * sum(tree_flops(sizes, completions=k, **per_tree).values()) for name, n, k in
        (("prompt trees", ROWS.value, 2), ("separate rows", 2 * ROWS.value, 1))
    }  # fmt: skip
    figures = {
        "device": jax.devices()[0].device_kind,
        "speedup": float(np.median(np.array(rows["seconds"]) / np.array(trees["seconds"]))),
        "flops_ratio": flops["separate rows"] / flops["prompt trees"],
        "memory_ratio": rows["memory"] / trees["memory"],
    }
    table = Table("", *forms)
    shown = {
        "steps per second": lambda name, f: f"{1 / np.median(f['seconds']):.2f}",
        "pairs per second": lambda name, f: f"{ROWS.value / np.median(f['seconds']):.1f}",
        "GFLOP per step": lambda name, f: f"{flops[name] / 1e9:.2f}",
        "temporary memory (MB)": lambda name, f: f"{f['memory'] / 1e6:.1f}",
        "largest array": lambda name, f: f"[{f['largest'][0]}], {4 * f['largest'][1] / 1e6:.1f} MB",
        "logits of all positions would take (MB)": lambda name, f: f"{f['all_logits'] / 1e6:.1f}",
        "compile (s)": lambda name, f: f"{f['compile']:.1f}",
        "loss after the last step": lambda name, f: f"{f['loss']:.6f}",
    }
    for label, show in shown.items():
        table.add_row(label, *(show(name, form) for name, form in forms.items()))
    console.print(table)
    console.print(
        f"trees are {figures['speedup']:.2f} times as fast (counted FLOPs: {figures['flops_ratio']:.2f}) and need "
        f"1/{figures['memory_ratio']:.2f} of the memory, on {figures['device']}"
    )
    if OUT.value:
        with open(OUT.value, "w") as file:
            json.dump(figures, file, indent=2)


if __name__ == "__main__":
    script.start(main)
