"""Our towers against those of Qwen2-VL, Qwen2.5-VL and Qwen3-VL in transformers: same weights, features, gradients."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from align_jax.data.processors.qwen_patches import lay_out, pack
from align_jax.models import patch_vit
from align_jax.models.families import qwen_vision
from align_jax.models.patch_vit import PatchTransformer, PatchVisionConfig
from align_jax.models.weights import to_ours, to_theirs
from align_jax.sharding import make_mesh, match, shardings, to_mesh
from align_jax.types import Patches

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.parity

SHARED = dict(depth=3, num_heads=4, patch_size=4, spatial_merge_size=2, temporal_patch_size=2)
WIDE = SHARED | dict(hidden_size=32, intermediate_size=48, out_hidden_size=24)
# Windows of 4 x 4 patches cut all of these pictures but one; the last row has no picture.
GRIDS = ([(1, 6, 10), (1, 4, 4)], [(2, 6, 4), (1, 2, 2)], [(1, 2, 14)], [])


def their_models() -> dict:
    from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl as qwen2_5
    from transformers.models.qwen2_vl import modeling_qwen2_vl as qwen2
    from transformers.models.qwen3_vl import modeling_qwen3_vl as qwen3

    old = qwen2.Qwen2VLVisionConfig(**SHARED, embed_dim=32, hidden_size=24, mlp_ratio=2)
    windows = qwen2_5.Qwen2_5_VLVisionConfig(**WIDE, window_size=16, fullatt_block_indexes=[1])
    deep = qwen3.Qwen3VLVisionConfig(**WIDE, num_position_embeddings=25, deepstack_visual_indexes=[0, 2])
    return {
        "qwen2_vl": (qwen2.Qwen2VisionTransformerPretrainedModel, old),
        "qwen2_5_vl": (qwen2_5.Qwen2_5_VisionTransformerPretrainedModel, windows),
        "qwen3_vl": (qwen3.Qwen3VLVisionModel, deep),
    }


@dataclasses.dataclass(frozen=True)
class Case:
    """The same tower twice, and media for both."""

    family: str
    theirs: torch.nn.Module
    config: PatchVisionConfig

    def tree_of(self, arrays: dict[str, np.ndarray]) -> dict:
        """Our parameters from their arrays by name, each read once."""
        like = {"vision": jax.eval_shape(lambda: init(self.config, self.media(64)))}
        tree, read = {}, []
        for tensor in patch_vit.weights(self.config, prefix="visual."):
            *folders, leaf = tensor.ours.split("/")
            shape = functools.reduce(lambda node, key: node[key], [*folders, leaf], like).shape
            stacked = "{}" in tensor.theirs
            names = [tensor.theirs.format(i) for i in range(shape[0] if stacked else 1)]
            one = shape[1:] if stacked else shape
            layers = [to_ours(tensor, arrays[name], one) for name in names]
            for name, layer in zip(names, layers, strict=True):
                np.testing.assert_array_equal(to_theirs(tensor, layer), arrays[name])
            folder = functools.reduce(lambda node, key: node.setdefault(key, {}), folders, tree)
            folder[leaf] = jnp.asarray(np.stack(layers) if stacked else layers[0])
            read += names
        assert sorted(read) == sorted(arrays)
        assert jax.tree.map(jnp.shape, tree) == jax.tree.map(jnp.shape, like)
        return tree["vision"]

    @functools.cached_property
    def params(self) -> dict:
        return self.tree_of({f"visual.{n}": p.detach().numpy() for n, p in self.theirs.named_parameters()})

    @functools.cached_property
    def pixels(self) -> list[list[np.ndarray]]:
        """Of every picture of every row, in their order."""
        rng, values = np.random.default_rng(0), values_of(self.config)
        return [[rng.normal(size=(np.prod(g), values)).astype(np.float32) for g in row] for row in GRIDS]

    def media(self, padding: int) -> Patches:
        """Rows with so much padding behind the longest one; what must not be read is not a number."""
        side, merge = int(self.config.window**0.5) // self.config.merge, self.config.merge
        rows = []
        for pixels, grids in zip(self.pixels, GRIDS, strict=True):
            parts = [lay_out(x, grid, merge, side) for x, grid in zip(pixels, grids, strict=True)]
            rows.append(pack(parts, values_of(self.config), merge))
        length = max(len(row.segment) for row in rows) + padding
        slots = max(len(row.slots) for row in rows)

        def fill(name: str) -> jnp.ndarray:
            values = [vars(row)[name] for row in rows]
            size = slots if name == "slots" else length
            return jnp.asarray(np.stack([np.pad(v, [(0, size - len(v))] + [(0, 0)] * (v.ndim - 1)) for v in values]))

        filled = Patches(**{name: fill(name) for name in vars(rows[0])})
        pixels = jnp.where(filled.segment[..., None] > 0, filled.pixels, jnp.nan)
        return dataclasses.replace(filled, pixels=pixels)

    @functools.cached_property
    def their_features(self) -> list[list[torch.Tensor]]:
        """[features, out_dim] of every row with pictures: merged, and those of DeepStack; on torch's tape."""
        rows = []
        for pixels, grids in zip(self.pixels, GRIDS, strict=True):
            if grids:
                out = self.theirs(torch.from_numpy(np.concatenate(pixels)), grid_thw=torch.tensor(grids))
                rows.append([out.pooler_output, *(getattr(out, "deepstack_features", None) or [])])
        return rows


def values_of(config: PatchVisionConfig) -> int:
    """Of a patch."""
    return int(np.prod(config.patch))


@functools.partial(jax.jit, static_argnums=0)
def init(config: PatchVisionConfig, media: Patches) -> dict:
    return PatchTransformer(config).init(jax.random.key(0), media)["params"]


@functools.partial(jax.jit, static_argnums=0)
def features_and_gradients(config: PatchVisionConfig, params: dict, media: Patches, directions: jax.Array):
    """Features [B, F, out_dim] at the slots, and the gradient of their sum along `directions` [n, B, F, out_dim]."""

    def project(params):
        features = PatchTransformer(config).apply({"params": params}, media)
        features = jnp.stack([jnp.take_along_axis(x, media.slots[..., None], axis=1) for x in features])
        return (features.astype(jnp.float32) * directions).sum(), features

    (_, features), gradients = jax.value_and_grad(project, has_aux=True)(params)
    return features, gradients


@pytest.fixture(scope="module", params=["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def case(request) -> Case:
    kind, config = their_models()[request.param]
    theirs = kind._from_config(config, dtype=torch.float32).eval()
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in theirs.parameters():  # fresh biases are 0 and fresh norms are 1
            parameter.add_(0.1 * torch.randn_like(parameter))
    return Case(request.param, theirs, getattr(qwen_vision, request.param)(config.to_dict()))


@pytest.fixture(scope="module")
def directions(case) -> np.ndarray:
    """Random where a row has a feature, 0 elsewhere."""
    made = np.zeros((len(case.their_features[0]), len(GRIDS), max(map(count, GRIDS)), 24), np.float32)
    for row, grids in enumerate(GRIDS):
        made[:, row, : count(grids)] = np.random.default_rng(row).normal(size=(len(made), count(grids), 24))
    return made


def count(grids) -> int:
    return sum(t * h * w // 4 for t, h, w in grids)


@pytest.fixture(scope="module")
def ours(case, directions):
    return features_and_gradients(case.config, case.params, case.media(0), directions)


def test_features_are_equal(case, ours):
    assert len(ours[0]) == {"qwen2_vl": 1, "qwen2_5_vl": 1, "qwen3_vl": 3}[case.family]
    for row, theirs in enumerate(case.their_features):
        for actual, expected in zip(ours[0], theirs, strict=True):
            expected = expected.detach().numpy()
            assert 0.3 < expected.std() < 3.0
            np.testing.assert_allclose(actual[row, : len(expected)], expected, atol=2e-5, rtol=0)


def test_gradients_of_every_parameter_are_equal(case, ours, directions):
    case.theirs.zero_grad()
    total = 0.0
    for row, theirs in enumerate(case.their_features):
        for features, direction in zip(theirs, directions, strict=True):
            total = total + (features * torch.from_numpy(direction[row, : len(features)])).sum()
    total.backward(retain_graph=True)
    theirs = case.tree_of({f"visual.{n}": p.grad.numpy() for n, p in case.theirs.named_parameters()})
    for (path, expected), actual in zip(
        jax.tree_util.tree_leaves_with_path(theirs), jax.tree.leaves(ours[1]), strict=True
    ):
        size = np.linalg.norm(expected)
        assert size > 1e-2, path
        assert np.linalg.norm(actual - expected) <= 1e-3 * size, (path, np.linalg.norm(actual - expected), size)


def test_pictures_do_not_see_each_other(case, ours, directions):
    other = dataclasses.replace(case)  # draws its pixels anew
    other.pixels[0][1] += 1.0
    changed = features_and_gradients(case.config, case.params, other.media(0), directions)[0]
    first = count(GRIDS[0][:1])
    np.testing.assert_allclose(changed[:, 0, :first], ours[0][:, 0, :first], atol=1e-6)
    assert (np.abs(changed[:, 0, first:] - ours[0][:, 0, first:]).max(-1) > 1e-2).all()
    np.testing.assert_allclose(changed[:, 1:3], ours[0][:, 1:3], atol=1e-6)


@pytest.mark.parametrize("how", [dict(remat=True), dict(unroll=3)], ids=["remat", "unrolled"])
def test_padding_and_the_way_of_computing_change_nothing(case, ours, directions, how):
    config = dataclasses.replace(case.config, **how)
    again = features_and_gradients(config, case.params, case.media(64), directions)
    where = directions != 0
    np.testing.assert_allclose(np.where(where, again[0], 0), np.where(where, ours[0], 0), atol=1e-5)
    for actual, expected in zip(jax.tree.leaves(again[1]), jax.tree.leaves(ours[1]), strict=True):
        np.testing.assert_allclose(actual, expected, atol=1e-5 * float(jnp.abs(expected).max()) + 1e-6)


def test_bfloat16_runs(case, ours, directions):
    config = dataclasses.replace(case.config, dtype="bfloat16")
    features, gradients = features_and_gradients(config, case.params, case.media(0), directions)
    assert features.dtype == jnp.bfloat16
    assert all(bool(jnp.isfinite(x).all()) and x.dtype == jnp.float32 for x in jax.tree.leaves(gradients))
    where = directions != 0
    error = np.abs(np.where(where, features.astype(jnp.float32) - ours[0], 0))
    assert error.max() < 0.15 and error[where].mean() < 0.02


def test_a_mesh_gives_what_one_device_gives(case, ours, directions):
    mesh = make_mesh(2, 2, 2)
    specs = match({"vision": case.params}, patch_vit.rules(case.config))["vision"]
    params = jax.device_put(case.params, shardings(mesh, specs))
    with jax.set_mesh(mesh):
        features, _ = features_and_gradients(case.config, params, to_mesh(mesh, case.media(0)), directions)
    np.testing.assert_allclose(
        np.where(directions != 0, features, 0), np.where(directions != 0, ours[0], 0), atol=1e-5
    )


def test_rows_must_hold_whole_windows(case):
    media = case.media(2)
    with pytest.raises(ValueError, match="a multiple of"):
        jax.eval_shape(lambda: init(case.config, media))
