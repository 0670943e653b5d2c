"""What every family must keep: the same checkpoint, opened here and by transformers, says the same.

A test file subclasses `Parity` with a tiny model of transformers and with how its processor feeds it.
"""

import dataclasses
import functools
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from align_jax import registry, sharding
from align_jax.data.pack import TreePacker
from align_jax.models import mllm, pretrained
from align_jax.models.peft import module_name
from align_jax.models.stored import Stored
from align_jax.rollout.sampler import sample
from align_jax.scoring import score
from align_jax.types import Example, Mean, Prompt, PromptTree

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

VOCAB, PAD = 320, 0
WORDS = range(3, 250)  # ids that stand for text
LLAMA = dict(  # text settings that most families share
    vocab_size=VOCAB,
    hidden_size=64,
    intermediate_size=128,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=512,
)


class Row(NamedTuple):
    """What one prompt shows."""

    images: Sequence[np.ndarray] = ()  # uint8[H, W, 3]
    videos: Sequence[Sequence[np.ndarray]] = ()
    sounds: Sequence[np.ndarray] = ()  # f32[samples]


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """uint8[height, width, 3] of noise in coarse blocks, so that resizing leaves something of it."""
    blocks = np.random.default_rng(seed).integers(0, 256, (-(-height // 7), -(-width // 7), 3), np.uint8)
    return np.kron(blocks, np.ones((7, 7, 1), np.uint8))[:height, :width]


def randomised(model, scale: float = 0.1, embeddings: float = 0.1):
    """Every parameter: fresh biases are 0 and fresh norms are 1, and would hide what is done with them."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.add_((embeddings if "embed_tokens" in name else scale) * torch.randn_like(parameter))
    return model.eval()


class Parity:
    """Subclass as `Test...`; `rows` and the methods that raise are for the family to say."""

    rows: Sequence[Row] = (Row(), Row(), Row())
    specials: dict[str, int] = {}  # special tokens that the processor writes; empty for text models
    prompt_length = 64
    scale = 0.1  # of the noise on every parameter
    embeddings = 0.1  # the same for token embeddings: where they are the head too, large ones repeat what was said
    gradients = False  # whether to compare them too
    meshes = False  # whether to run on a mesh too
    logits_std = (0.3, 3.0)  # what the oracle's logits must lie between to be worth comparing

    @classmethod
    def model(cls) -> "torch.nn.Module":
        """A tiny model of transformers, with fresh weights."""
        raise NotImplementedError

    @classmethod
    def prompt(cls, folder: Path, rng: np.random.Generator, row: Row) -> Prompt:
        """Our prompt for a row: its media as the family's processor shows them, and text before, between and after."""

        def words(least: int = 2) -> np.ndarray:
            return rng.choice(WORDS, rng.integers(least, least + 4))

        if not cls.specials:
            return Prompt(words(4).astype(np.int32))
        processor = cls.processor(folder)
        ids, shown = [words()], []
        for kind in ("images", "videos", "sounds"):
            for each in getattr(processor, kind)(getattr(row, kind)) if getattr(row, kind) else ():
                ids += [cls.tokens(each.text), words()]
                shown.append(each)
        ids = np.concatenate([*ids, words()]).astype(np.int32)
        return Prompt(ids, processor.join(shown), processor.positions(ids, shown))

    @classmethod
    def processor(cls, folder: Path):
        return registry.build("align_jax.data.processors", cls.model().config.model_type, folder=str(folder))()

    @classmethod
    def tokens(cls, text: str) -> np.ndarray:
        """Special tokens by `specials`; every other word becomes some id of a word."""
        parts = re.split("(" + "|".join(map(re.escape, cls.specials)) + r"|\s+)", text)
        words = [part for part in parts if part.strip()]
        return np.array([cls.specials.get(w, 3 + zlib.crc32(w.encode()) % 200) for w in words], int)

    @classmethod
    def prepare(cls, folder: Path) -> None:
        """Writes tokenizer and processor files into the checkpoint, where `prompt` needs them."""

    @classmethod
    def their_media(cls, folder: Path, rows: Sequence[Row], ids: np.ndarray) -> dict[str, Any]:
        """Arguments of their model that show it the media of rows, and whatever else depends on ids i64[n, T]."""
        return {}

    @pytest.fixture(scope="class")
    @classmethod
    def theirs(cls):
        return randomised(cls.model(), cls.scale, cls.embeddings)

    @pytest.fixture(scope="class")
    @classmethod
    def folder(cls, theirs, tmp_path_factory) -> Path:
        path = tmp_path_factory.mktemp("checkpoint")
        theirs.save_pretrained(path)
        cls.prepare(path)
        return path

    @pytest.fixture(scope="class")
    @classmethod
    def opened(cls, folder) -> pretrained.Pretrained:
        return pretrained.from_pretrained(folder)

    @pytest.fixture(scope="class")
    @classmethod
    def policy(cls, opened):
        return mllm.build(opened.family.sizes)

    @pytest.fixture(scope="class")
    @classmethod
    def examples(cls, folder) -> list[Example]:
        """Ragged prompts, each with two ragged completions."""
        rng, made = np.random.default_rng(0), []
        for i, row in enumerate(cls.rows):
            completions = {
                name: rng.choice(WORDS, rng.integers(3, 9)).astype(np.int32) for name in ("chosen", "rejected")
            }
            made.append(Example(str(i), cls.prompt(folder, rng, row), completions))
        return made

    @pytest.fixture(scope="class")
    @classmethod
    def tree(cls, examples) -> PromptTree:
        """The examples as a tree; its first row is padded on the left, the others on the right."""
        packed = cls.packer(examples)(examples, ("chosen", "rejected"))
        shift = cls.prompt_length - (len(examples[0].prompt.ids) - 1)
        assert shift > 0, "the first row must leave room for padding"
        for padded in (packed.prompt, packed.prompt_mask, packed.positions):
            if padded is not None:
                padded[0] = np.roll(padded[0], shift, axis=0)
        return jax.tree.map(jnp.asarray, packed)

    @classmethod
    def packer(cls, examples: Sequence[Example]) -> TreePacker:
        media = next((e.prompt.media for e in examples if e.prompt.media is not None), None)
        empty = None if media is None else jax.tree.map(lambda x: x[:0], media)
        turned = examples[0].prompt.positions is not None
        return TreePacker(len(examples), cls.prompt_length, 8, PAD, empty, turned)

    @classmethod
    def their_inputs(cls, folder, sequences: list[np.ndarray], rows: Sequence[Row], side: str) -> dict[str, Any]:
        """Arguments of their model for sequences, padded on a side."""
        width = max(map(len, sequences))
        pads = [(width - len(s), 0) if side == "left" else (0, width - len(s)) for s in sequences]
        ids = np.stack([np.pad(s, pad, constant_values=PAD) for s, pad in zip(sequences, pads, strict=True)])
        mask = np.stack([np.pad(np.ones(len(s), int), pad) for s, pad in zip(sequences, pads, strict=True)])
        ids = ids.astype(np.int64)
        inputs = {"input_ids": ids, "attention_mask": mask} | cls.their_media(folder, rows, ids)
        as_torch = lambda x: torch.from_numpy(np.ascontiguousarray(x)) if isinstance(x, np.ndarray) else x  # noqa: E731
        return {name: as_torch(x) for name, x in inputs.items()}

    @classmethod
    def ask(cls, theirs, folder, examples) -> list["torch.Tensor"]:
        """Their logits [r, V] of each completion, in the order of the tree's rows and completions."""
        rows = [(e, c, row) for e, row in zip(examples, cls.rows, strict=True) for c in e.completions.values()]
        sequences = [np.concatenate([e.prompt.ids, c]) for e, c, _ in rows]
        logits = theirs(**cls.their_inputs(folder, sequences, [row for *_, row in rows], "right")).logits
        return [x[len(e.prompt.ids) - 1 :][: len(c)] for x, (e, c, _) in zip(logits, rows, strict=True)]

    @pytest.fixture(scope="class")
    @classmethod
    def their_logits(cls, theirs, folder, examples):
        with torch.no_grad():
            return [x.numpy() for x in cls.ask(theirs, folder, examples)]

    @pytest.fixture(scope="class")
    @classmethod
    def logits(cls, policy):
        return jax.jit(lambda params, tree: policy.unembed(params, policy.hidden(params, tree)))

    def test_logits_are_equal(self, opened, logits, tree, their_logits):
        ours = at_targets(tree, logits(opened.params, tree))
        low, high = self.logits_std
        assert low < np.concatenate(their_logits).std() < high, "a scale that makes the tolerance mean something"
        for a, b in zip(ours, their_logits, strict=True):
            np.testing.assert_allclose(a, b, atol=2e-4, rtol=0)

    def test_media_change_what_is_said(self, opened, logits, tree):
        if tree.media is None:
            pytest.skip("a text model")
        first, values = next(iter(vars(tree.media).items()))
        blank = dataclasses.replace(tree, media=dataclasses.replace(tree.media, **{first: values * 0}))
        change = jnp.abs(logits(opened.params, tree) - logits(opened.params, blank)).max((1, 2, 3))
        shown = np.array([any(row) for row in self.rows])
        assert (change[shown] > 0.05).all() and (change[~shown] < 1e-4).all()

    def test_a_mesh_of_eight_devices_says_the_same(self, opened, policy, logits, tree):
        if not self.meshes:
            pytest.skip("shown by the families that have the same parts")
        # On one device once more, since rows are added so that they divide.
        rows = 4 * -(-len(tree.prompt) // 4)
        tree = jax.tree.map(lambda x: jnp.pad(x, [(0, rows - len(x))] + [(0, 0)] * (x.ndim - 1)), tree)
        alone, mesh = logits(opened.params, tree), sharding.make_mesh(data=2, fsdp=2, tensor=2)
        with jax.set_mesh(mesh):
            specs = sharding.match(opened.params, mllm.rules(opened.family.sizes), mesh)
            params = jax.device_put(opened.params, sharding.shardings(mesh, specs))
            together = logits(params, sharding.to_mesh(mesh, jax.device_get(tree)))
        np.testing.assert_allclose(together, alone, atol=5e-5, rtol=0)

    def test_log_probabilities_of_completions_are_equal(self, opened, policy, examples, tree, their_logits):
        scores = jax.jit(functools.partial(score, policy, chunk=3))(opened.params, tree)
        targets = [c for e in examples for c in e.completions.values()]
        for ours, logits, target in zip(at_targets(tree, scores.logps), their_logits, targets, strict=True):
            theirs = torch.from_numpy(logits).log_softmax(-1).numpy()[range(len(target)), target]
            np.testing.assert_allclose(ours, theirs, atol=2e-4, rtol=0)

    def test_completions_of_a_tree_equal_each_alone(self, opened, logits, tree):
        together = logits(opened.params, tree)
        for k in range(2):
            parts = {name: vars(tree)[name][:, k : k + 1] for name in ("tokens", "targets", "mask")}
            # Twice, so that the shapes are those that were compiled already.
            twice = {name: jnp.concatenate([part, part], axis=1) for name, part in parts.items()}
            alone = logits(opened.params, dataclasses.replace(tree, **twice))[:, 0]
            np.testing.assert_allclose(alone, together[:, k], atol=1e-5, rtol=0)

    def test_greedy_answers_are_equal_token_for_token(self, theirs, folder, opened, policy, examples, tree):
        inputs = self.their_inputs(folder, [e.prompt.ids for e in examples], self.rows, "left")
        theirs.generation_config.eos_token_id = theirs.generation_config.pad_token_id = None
        with torch.no_grad():
            said = theirs.generate(**inputs, do_sample=False, max_new_tokens=32, eos_token_id=None, pad_token_id=PAD)
        said = said[:, -32:].numpy()
        ours = sample(
            policy, opened.params, tree, jax.random.key(0), completions=1, max_tokens=32, eos=-1, temperature=0.0
        )
        assert len(set(said.flatten().tolist())) > 10, "a model that repeats itself shows little"
        np.testing.assert_array_equal(ours.tokens[:, 0], said)

    def test_gradients_of_every_part_are_equal(self, theirs, folder, opened, policy, examples, tree):
        if not self.gradients:
            pytest.skip("compared for the families that stand for the others")

        def loss(params):
            scores = score(policy, params, tree)
            return Mean.of(-scores.logps, scores.mask).value

        ours = jax.jit(jax.grad(loss))(opened.params)
        targets = torch.from_numpy(np.concatenate([c for e in examples for c in e.completions.values()]).astype(int))
        theirs.zero_grad()
        torch.nn.functional.cross_entropy(torch.cat(self.ask(theirs, folder, examples)), targets).backward()
        expected = {
            name: np.zeros(p.shape, np.float32) if p.grad is None else p.grad.numpy()
            for name, p in theirs.named_parameters()
        }
        found = dict(pretrained.tensors(opened.family, ours))
        assert len(found) == len(expected)
        whole = np.sqrt(sum(float((x**2).sum()) for x in expected.values()))
        moved = set()
        for name, actual in found.items():
            for start, published in opened.family.published:
                name = start + name.removeprefix(published) if name.startswith(published) else name
            theirs_name = module_name(opened.family, name)
            error = np.linalg.norm(actual - expected[theirs_name])
            size = np.linalg.norm(expected[theirs_name])
            # Softmax does not see the bias of keys: their gradient is rounding, and has no relative error.
            assert error <= 1e-3 * size + 1e-6 * whole, (name, error, size)
            moved |= {name.split(".")[0]} if size > 1e-4 * whole else set()
        assert moved, "no gradient at all"

    def test_saved_again_every_tensor_is_equal_byte_for_byte(
        self, theirs, folder, opened, their_logits, examples, tmp_path
    ):
        in_shards = dict(like=folder, max_shard_bytes=100_000)
        pretrained.save_pretrained(tmp_path / "out", opened.family, opened.params, **in_shards)
        before, after = Stored(folder), Stored(tmp_path / "out")
        assert (tmp_path / "out" / "model.safetensors.index.json").exists()
        known = {pretrained.published_name(opened.family, name): name for name in before.names}
        assert known.keys() == after.names
        for new, old in known.items():
            assert after.dtype(new) == before.dtype(old)
            assert after.read(new).tobytes() == before.read(old).tobytes(), new
        again, report = type(theirs).from_pretrained(tmp_path / "out", output_loading_info=True)
        assert not report["missing_keys"] and not report["unexpected_keys"], report
        with torch.no_grad():
            logits = self.ask(again.eval(), folder, examples)
        for a, b in zip(logits, their_logits, strict=True):
            np.testing.assert_array_equal(a.numpy(), b)


def at_targets(tree: PromptTree, x: jax.Array) -> list[np.ndarray]:
    """The part of [B, K, R, ...] that belongs to each completion."""
    lengths = np.asarray(tree.mask.sum(-1), int)
    return [np.asarray(x[b, k, :n]) for (b, k), n in np.ndenumerate(lengths)]
