"""CLIP here and in transformers: the same checkpoint, the same similarities and gradients."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from align_jax import sharding
from align_jax.models import clip, pretrained
from align_jax.models.stored import Stored
from align_jax.types import PromptTree, Tiles
from tests.models.tower_parity import gradients_of, randomised

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.parity

ROWS, CANDIDATES, LENGTH, START, END = 4, 3, 9, 97, 98
SIZES = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4)


@pytest.fixture(scope="module", params=["quick_gelu", "gelu"])
def theirs(request):
    text = dict(SIZES, vocab_size=99, max_position_embeddings=LENGTH + 1, hidden_act=request.param)
    text |= dict(bos_token_id=START, eos_token_id=END, pad_token_id=0, hidden_size=24)
    vision = dict(SIZES, image_size=28, patch_size=14, hidden_act=request.param)
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=20)
    return randomised(transformers.CLIPModel(config))


@pytest.fixture(scope="module")
def folder(theirs, tmp_path_factory):
    path = tmp_path_factory.mktemp("clip")
    theirs.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def opened(folder):
    return pretrained.from_pretrained(folder)


@pytest.fixture(scope="module")
def tree() -> PromptTree:
    """Ragged texts, the same for all rows, and a picture for each row."""
    rng = np.random.default_rng(0)
    lengths = np.array([LENGTH, 2, 5])
    targets = rng.integers(3, 90, (CANDIDATES, LENGTH))
    targets[range(CANDIDATES), lengths - 1] = END
    mask = np.arange(LENGTH) < lengths[:, None]
    tokens = np.concatenate([np.full((CANDIDATES, 1), START), targets[:, :-1]], axis=1)
    rows = lambda x: jnp.asarray(np.broadcast_to(x, (ROWS, *x.shape)))  # noqa: E731
    return PromptTree(
        prompt=jnp.zeros((ROWS, 0), jnp.int32),
        prompt_mask=jnp.zeros((ROWS, 0)),
        media=Tiles(jnp.asarray(rng.normal(size=(ROWS, 1, 28, 28, 3)), jnp.float32)),
        tokens=rows(tokens.astype(np.int32)),
        targets=rows(targets.astype(np.int32)),
        mask=rows(mask.astype(np.float32)),
    )


@pytest.fixture(scope="module")
def score(opened):
    return jax.jit(clip.build(opened.family.sizes).score)


def ask(theirs, tree) -> "torch.Tensor":
    """Their logits [ROWS, CANDIDATES]."""
    ids = np.concatenate([tree.tokens[0, :, :1], tree.targets[0]], axis=1)
    mask = np.concatenate([np.ones((CANDIDATES, 1)), tree.mask[0]], axis=1)
    return theirs(
        input_ids=torch.from_numpy(np.where(mask, ids, 0).astype(np.int64)),
        attention_mask=torch.from_numpy(mask.astype(np.int64)),
        pixel_values=torch.from_numpy(np.asarray(tree.media.pixels[:, 0]).transpose(0, 3, 1, 2).copy()),
    ).logits_per_image


def test_similarities_and_log_probabilities_are_equal(theirs, opened, score, tree):
    with torch.no_grad():
        expected = ask(theirs, tree)
    assert expected.std() > 0.3, "a scale that makes the tolerance mean something"
    model = clip.Clip(opened.family.sizes)
    ours = model.apply({"params": opened.params}, tree, method=clip.Clip.logits)
    np.testing.assert_allclose(ours, expected, atol=2e-5, rtol=0)
    scores = score(opened.params, tree)
    np.testing.assert_allclose(scores.total, expected.log_softmax(-1), atol=2e-5, rtol=0)
    np.testing.assert_array_equal(scores.length, 1)


def test_gradients_of_a_cross_entropy_are_equal(theirs, opened, tree):
    labels = np.array([0, 2, 1, 2])
    score = clip.build(opened.family.sizes).score

    def loss(params):
        return -score(params, tree).total[np.arange(ROWS), labels].mean()

    ours = dict(pretrained.tensors(opened.family, jax.jit(jax.grad(loss))(opened.params)))
    theirs.zero_grad()
    torch.nn.functional.cross_entropy(ask(theirs, tree), torch.from_numpy(labels)).backward()
    expected = gradients_of(theirs, [name for name, _ in theirs.named_parameters()])
    assert ours.keys() == expected.keys()
    whole = np.sqrt(sum(float((x**2).sum()) for x in expected.values()))
    for name, actual in ours.items():
        error, size = np.linalg.norm(actual - expected[name]), np.linalg.norm(expected[name])
        # Softmax does not see the bias of keys: their gradient is rounding, and has no relative error.
        assert error <= 1e-3 * size + 1e-6 * whole, (name, error, size)
        assert size > 1e-4 * whole or name.endswith("k_proj.bias"), (name, size, whole)


def test_absent_candidates_take_no_probability_and_padding_is_not_read(theirs, opened, score, tree):
    mask = tree.mask.at[1, 2].set(0.0)
    padded = jnp.where(mask > 0, tree.targets, 7)
    scores = score(opened.params, dataclasses.replace(tree, mask=mask, targets=padded))
    with torch.no_grad():
        expected = ask(theirs, tree)
    np.testing.assert_allclose(scores.total[1, :2], expected[1, :2].log_softmax(-1), atol=2e-5, rtol=0)
    np.testing.assert_allclose(scores.total[0], expected[0].log_softmax(-1), atol=2e-5, rtol=0)
    np.testing.assert_array_equal(scores.length, [[1, 1, 1], [1, 1, 0], [1, 1, 1], [1, 1, 1]])
    assert scores.total[1, 2] == 0


def test_a_mesh_of_eight_devices_says_the_same(opened, score, tree):
    alone, mesh = score(opened.params, tree), sharding.make_mesh(data=2, fsdp=2, tensor=2)
    with jax.set_mesh(mesh):
        specs = sharding.match(opened.params, clip.rules(opened.family.sizes), mesh)
        params = jax.device_put(opened.params, sharding.shardings(mesh, specs))
        together = score(params, sharding.to_mesh(mesh, jax.device_get(tree)))
    np.testing.assert_allclose(together.total, alone.total, atol=2e-5, rtol=0)


def test_saved_again_every_tensor_is_equal_byte_for_byte(theirs, folder, opened, tree, tmp_path):
    pretrained.save_pretrained(tmp_path / "out", opened.family, opened.params, like=folder, max_shard_bytes=50_000)
    before, after = Stored(folder), Stored(tmp_path / "out")
    assert before.names == after.names
    for name in before.names:
        assert after.dtype(name) == before.dtype(name) and after.shape(name) == before.shape(name)
        assert after.read(name).tobytes() == before.read(name).tobytes(), name
    again, report = type(theirs).from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"], report
    with torch.no_grad():
        np.testing.assert_array_equal(ask(again.eval(), tree), ask(theirs, tree))
