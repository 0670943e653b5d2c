"""Asking a trained model: records in, words out."""

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from align_jax import build, sharding
from align_jax.data.pipeline import in_order
from align_jax.data.records import Record
from align_jax.data.rejects import Rejects, none_allowed
from align_jax.models import pretrained
from align_jax.rollout.answer import answers
from align_jax.rollout.sampler import sample
from align_jax.train import checkpoint
from align_jax.types import Example, Params, PromptTree


class Trained(NamedTuple):
    """A model that can be asked."""

    model: build.Model
    params: Params
    mesh: Mesh


def open_run(workdir: str | Path, mesh: Mesh | None = None, step: int | None = None) -> Trained:
    """Opens what a run has trained.

    Args:
      workdir: of the run, or a Hugging Face folder, which is opened by `open_published`.
      mesh: where the parameters shall lie, whatever mesh they were trained on; all devices if not given.
      step: of the checkpoint; the newest if not given.

    Raises:
      CheckpointError: `workdir` is not the workdir of a run.
    """
    if build.is_published(workdir):
        return open_published(workdir, mesh)
    mesh = mesh or sharding.make_mesh()
    model = build.load_model(workdir)
    like = sharding.on(build.param_shapes(model), build.param_shardings(model, mesh))
    return Trained(model, checkpoint.load_params(workdir, like, step), mesh)


def open_published(
    folder: str | Path,
    mesh: Mesh | None = None,
    *,
    prompt_length: int = 2048,
    dtype: str = "float32",
    processor: Mapping[str, Any] | None = None,
) -> Trained:
    """Opens a Hugging Face folder to ask the model in it.

    Args:
      folder: config.json, *.safetensors, tokenizer and processor files.
      mesh: where the parameters shall lie; all devices if not given.
      prompt_length: tokens that a prompt may have, those of its media included; prompts are padded to it.
      dtype: of parameters and activations.
      processor: options of its processor, see align_jax/data/processors.

    Raises:
      CheckpointError: it cannot be read.
    """
    mesh = mesh or sharding.make_mesh()
    data = {"prompt_length": prompt_length, "media_items": 0}
    compute = {"dtype": dtype, "remat": False}
    model = build.published_model(folder, {"compute": compute, "data": data, "processor": dict(processor or {})})
    where = build.param_shardings(model, mesh)
    return Trained(model, pretrained.from_pretrained(folder, where, dtype, model.family).params, mesh)


def ask(
    trained: Trained,
    records: Sequence[Record],
    *,
    completions: int = 1,
    max_tokens: int = 32,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int = 0,
    batch_size: int = 64,
    blind: bool = False,
    rejects: Rejects | None = None,
) -> Iterator[tuple[Record, list[str]]]:
    """Yields every record with the model's answers to its prompt, in order.

    Args:
      trained: what is asked.
      records: prompts with their pictures; a list or any source of data/sources.
      completions: answers to each prompt, which is encoded once for all of them.
      max_tokens: where an answer is cut off.
      temperature: 0 gives the most likely token each time.
      top_k: see `rollout.sampler.sample`.
      top_p: likewise.
      seed: repeats the same answers.
      batch_size: prompts at a time, over all devices; rounded up to what divides over them.
      blind: hold the pictures back: the baseline that tells how much an answer owes to the question alone.
      rejects: receives records that cannot be read; by default the first one is fatal.

    Raises:
      TooManyRejects: more records are broken than `rejects` allows.
    """
    model, mesh = trained.model, trained.mesh
    batch_size += -batch_size % (mesh.shape["data"] * mesh.shape["fsdp"])
    encode, packer = model.encode(max_tokens), model.packer(batch_size, max_tokens)
    rejects = rejects or none_allowed()
    batches = in_order(_Blind(records) if blind else records, encode, rejects=rejects, batch_size=batch_size)
    asked: list[Record] = []

    def examples() -> Iterator[list[Example]]:
        for good, batch in batches:
            asked.extend(good)
            yield batch

    def pack(batch: Sequence[Example]) -> PromptTree:
        prompts = [dataclasses.replace(e, completions={"answer": np.zeros(0, np.int32)}) for e in batch]
        return sharding.to_mesh(mesh, packer(prompts, ("answer",)))

    with jax.set_mesh(mesh):
        found = answers(
            examples(),
            pack,
            functools.partial(
                sample,
                model.policy,
                trained.params,
                completions=completions,
                max_tokens=max_tokens,
                eos=model.inputs.eos_id,
                temperature=temperature,
                top_k=top_k,
                top_p=top_p,
            ),
            model.inputs.decode,
            seed=seed,
        )
        for i, (_, words) in enumerate(found):
            yield asked[i], words


class _Blind:
    """Records without their pictures."""

    def __init__(self, records: Sequence[Record]):
        self.records = records

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, i: int) -> Record:
        record = self.records[i]
        return dataclasses.replace(record, images=(), prompt=record.prompt.replace("<image>", "").strip())
