"""How far alignment has moved a model: its divergence from the reference, and what became of the chosen answers."""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import numpy as np

from align_jax import sharding
from align_jax.ask import Trained, ask
from align_jax.data.pipeline import in_order
from align_jax.data.records import Record
from align_jax.data.rejects import none_allowed
from align_jax.scoring import score_both
from align_jax.types import Params, Policy, PreferenceBatch, PromptTree


def divergence(
    trained: Trained, reference: Trained, records: Sequence[Record], *, max_tokens: int, seed: int = 0, **how: int
) -> float:
    """KL(trained : reference) of whole answers, in nats per answer: one answer sampled to each prompt.

    At each of its tokens the divergence of the two next-token distributions is summed over the vocabulary, which
    estimates the same as the log-ratio of the sampled tokens with less chance. Answers are tokenised anew.

    Args:
      trained: the model that answers.
      reference: the model that it started from.
      records: prompts with their pictures.
      max_tokens: where an answer is cut off.
      seed: of the answers.
      how: `batch_size`, prompts at a time.
    """
    sampled = ask(trained, records, max_tokens=max_tokens, seed=seed, batch_size=how.get("batch_size", 64))
    said = [dataclasses.replace(record, chosen=words[0], rejected=words[0]) for record, words in sampled]
    _, kl = _compare(reference, trained, said, max_tokens, **how)
    return float(kl[:, 0].mean())


def displacement(
    trained: Trained, reference: Trained, pairs: Sequence[Record], *, max_tokens: int, **how: int
) -> dict[str, float]:
    """By how many nats the log-probabilities of chosen and rejected answers have moved, on average.

    A method may widen the margin and still make the chosen answers less likely (Razin et al. 2024,
    https://arxiv.org/abs/2410.08847).
    """
    moved, _ = _compare(trained, reference, pairs, max_tokens, **how)
    chosen, rejected = moved.mean(0)
    return {"chosen": float(chosen), "rejected": float(rejected)}


@functools.partial(jax.jit, static_argnums=0)
def _both(policy: Policy, params: Params, reference: Params, tree: PromptTree) -> tuple[jax.Array, jax.Array]:
    """Log-ratios of whole completions f32[B, K], and divergences of the second model from the first f32[B, K]."""
    ours, theirs = score_both(policy, params, reference, tree)
    return (ours.logps - theirs.logps).sum(-1), ours.kl.sum(-1)


def _compare(trained: Trained, reference: Trained, records: Sequence[Record], max_tokens: int, batch_size: int = 64):
    """f64[n, 2] each: log-ratios and divergences of the chosen and rejected answers of all records."""
    model, mesh = trained.model, trained.mesh
    batch_size += -batch_size % (mesh.shape["data"] * mesh.shape["fsdp"])
    encode = model.encode(max_tokens, reads=PreferenceBatch.reads)
    packer = model.packer(batch_size, max_tokens)
    found = []
    with jax.set_mesh(mesh):
        for _, examples in in_order(records, encode, rejects=none_allowed(), batch_size=batch_size):
            tree = sharding.to_mesh(mesh, PreferenceBatch.pack(examples, packer).tree)
            both = jax.device_get(_both(model.policy, trained.params, reference.params, tree))
            found.append(np.stack(both)[:, : len(examples)])
    return np.concatenate(found, 1)
