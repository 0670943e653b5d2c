"""Our vision transformer against the towers of transformers: same weights, features and gradients."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from align_jax.models import vit
from align_jax.models.families import vision
from align_jax.models.vit import VisionConfig, VisionTransformer
from align_jax.models.vit_names import CLIP, INTERNVIT, Names
from align_jax.sharding import make_mesh, match, shardings, to_mesh
from tests.models.tower_parity import arrays_of, compare_gradients, gradients_of, randomised, to_params

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.parity

TILES, IMAGE, PATCH = 8, 22, 4  # 5 x 5 patches, and a border that none of them covers
SIZES = dict(
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=3,
    num_attention_heads=4,
    image_size=IMAGE,
    patch_size=PATCH,
)


@dataclasses.dataclass(frozen=True)
class Case:
    """The same tower twice, and what of theirs a projector would read."""

    theirs: "torch.nn.Module"
    config: VisionConfig
    read: Callable
    names: Names = CLIP

    @functools.cached_property
    def tensors(self):
        return vit.weights(self.config, "", self.names)

    @functools.cached_property
    def params(self) -> dict:
        shapes = jax.eval_shape(lambda: init(self.config))
        return to_params(self.tensors, arrays_of(self.theirs), {"vision": shapes})["vision"]

    @functools.cached_property
    def their_features(self) -> "torch.Tensor":
        """[TILES, 25, 32], on torch's tape."""
        pixels = torch.from_numpy(pixels_of(TILES).transpose(0, 3, 1, 2).copy())
        return self.read(self.theirs(pixels, output_hidden_states=True))


def clip(layer: int) -> Case:
    theirs = transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**SIZES))
    config = vision.clip(theirs.config.to_dict(), layer)
    return Case(theirs, config, lambda out: out.hidden_states[layer][:, 1:])


def siglip(layer: int | None, head: bool) -> Case:
    theirs = transformers.SiglipVisionModel(transformers.SiglipVisionConfig(**SIZES, vision_use_head=head))
    config = vision.siglip(theirs.config.to_dict(), layer)
    return Case(theirs, config, lambda out: out.last_hidden_state if layer is None else out.hidden_states[layer])


def internvit(layer: int = -1, **settings) -> Case:
    theirs = transformers.InternVLVisionModel(transformers.InternVLVisionConfig(**SIZES, **settings))
    config = vision.internvit(theirs.config.to_dict(), layer)

    def read(out):
        return (out.last_hidden_state if layer == -1 else out.hidden_states[layer])[:, 1:]

    return Case(theirs, config, read, INTERNVIT)


def idefics3(smol: bool) -> Case:
    from transformers.models.idefics3 import modeling_idefics3 as idefics3
    from transformers.models.smolvlm import modeling_smolvlm as smolvlm

    kind, settings = (
        (smolvlm.SmolVLMVisionTransformer, smolvlm.SmolVLMVisionConfig)
        if smol
        else (idefics3.Idefics3VisionTransformer, idefics3.Idefics3VisionConfig)
    )
    theirs = kind(settings(**SIZES))
    return Case(theirs, vision.idefics3(theirs.config.to_dict()), lambda out: out.last_hidden_state)


RICH = dict(attention_bias=True, use_qk_norm=True, norm_type="rms_norm", use_mean_pooling=False, use_mask_token=True)
CASES = {
    "clip, last but one": lambda: clip(-2),
    "clip, last": lambda: clip(-1),
    "siglip with its head": lambda: siglip(None, True),
    "siglip, last": lambda: siglip(-1, False),
    "siglip, last but one": lambda: siglip(-2, False),
    "internvit": internvit,
    "internvit, everything on": lambda: internvit(**RICH),
    "internvit, everything on, last but one": lambda: internvit(-2, **RICH),
    "idefics3": lambda: idefics3(False),
    "smolvlm": lambda: idefics3(True),
}


@functools.partial(jax.jit, static_argnums=0)
def init(config: VisionConfig) -> dict:
    return VisionTransformer(config).init(jax.random.key(0), vit.blank(config).pixels[0])["params"]


@functools.partial(jax.jit, static_argnums=0)
def features_and_gradients(config: VisionConfig, params: dict, pixels: jax.Array, direction: jax.Array):
    """Features [M, patches, dim], and the gradient of their sum along `direction`."""

    def project(params):
        features = VisionTransformer(config).apply({"params": params}, pixels)
        return (features.astype(jnp.float32) * direction).sum(), features

    (_, features), gradients = jax.value_and_grad(project, has_aux=True)(params)
    return features, gradients


def pixels_of(tiles: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(tiles, IMAGE, IMAGE, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def direction() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(TILES, (IMAGE // PATCH) ** 2, 32)).astype(np.float32)


@pytest.fixture(scope="module", params=CASES)
def case(request) -> Case:
    made = CASES[request.param]()
    randomised(made.theirs)
    return made


@pytest.fixture(scope="module")
def ours(case, direction):
    return features_and_gradients(case.config, case.params, pixels_of(TILES), direction)


def test_features_are_equal(case, ours):
    expected = case.their_features.detach().numpy()
    assert 0.5 < expected.std() < 3.0
    assert np.abs(expected[:, :1] - expected[:, 1:]).max() > 0.5, "patches differ"
    np.testing.assert_allclose(ours[0], expected, atol=2e-5, rtol=0)


def test_gradients_are_equal_and_what_is_idle_has_none(case, ours, direction):
    case.theirs.zero_grad()
    (case.their_features * torch.from_numpy(direction)).sum().backward(retain_graph=True)
    theirs = gradients_of(case.theirs, list(arrays_of(case.theirs)))
    compare_gradients(case.tensors, {"vision": ours[1]}, theirs, vit.idle(case.config))


def test_every_parameter_has_one_rule(case):
    match({"vision": case.params}, vit.rules(case.config))


CONFIG = VisionConfig(
    image_size=IMAGE, patch_size=PATCH, dim=32, layers=2, heads=4, mlp_dim=48, tail=1, unused=(("a.b", (3,)),)
)


@pytest.fixture(scope="module")
def params() -> dict:
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda x: x + 0.2 * rng.normal(size=x.shape).astype(np.float32), init(CONFIG))


@pytest.fixture(scope="module")
def plain(params, direction):
    return features_and_gradients(CONFIG, params, pixels_of(TILES), direction)


def test_idle_parameters_are_in_the_tree_and_not_needed(params, plain, direction):
    assert set(params) == {"patch", "position_embedding", "layers", "post_norm", "tail", "unused"}
    needed = {name: leaf for name, leaf in params.items() if name not in ("tail", "unused")}
    features, _ = features_and_gradients(CONFIG, needed, pixels_of(TILES), direction)
    np.testing.assert_array_equal(features, plain[0])


@pytest.mark.parametrize("how", [dict(remat=True), dict(unroll=2)], ids=["remat", "unrolled"])
def test_the_way_of_computing_changes_nothing(params, plain, direction, how):
    again = features_and_gradients(dataclasses.replace(CONFIG, **how), params, pixels_of(TILES), direction)
    for actual, expected in zip(jax.tree.leaves(again), jax.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(actual, expected, atol=1e-5 * float(jnp.abs(expected).max()) + 1e-5)


def test_bfloat16_runs(params, plain, direction):
    config = dataclasses.replace(CONFIG, dtype="bfloat16")
    features, gradients = features_and_gradients(config, params, pixels_of(TILES), direction)
    assert features.dtype == jnp.bfloat16
    assert all(bool(jnp.isfinite(x).all()) and x.dtype == jnp.float32 for x in jax.tree.leaves(gradients))
    error = np.abs(features.astype(jnp.float32) - plain[0])
    assert error.max() < 0.15 and error.mean() < 0.02


def test_a_mesh_gives_what_one_device_gives(params, plain, direction):
    mesh = make_mesh(2, 2, 2)
    specs = match({"vision": params}, vit.rules(CONFIG))["vision"]
    placed = jax.device_put(params, shardings(mesh, specs))
    with jax.set_mesh(mesh):
        features, _ = features_and_gradients(CONFIG, placed, to_mesh(mesh, pixels_of(TILES)), direction)
    np.testing.assert_allclose(features, plain[0], atol=1e-5)


def test_lists_of_a_json_config_are_as_good_as_tuples():
    sizes = dataclasses.asdict(CONFIG) | {"unused": [["a.b", [3]]], "attention_bias": ["query", "key", "value"]}
    assert VisionConfig(**sizes) == CONFIG and hash(VisionConfig(**sizes)) == hash(CONFIG)


@pytest.mark.parametrize("side", [26, 27, 32], ids=["Idefics3-8B", "SmolVLM-2.2B", "SmolVLM-500M"])
def test_positions_of_idefics3_are_those_of_a_grid_for_published_sizes(side):
    from transformers.models.idefics3 import modeling_idefics3 as idefics3

    settings = idefics3.Idefics3VisionConfig(hidden_size=4, num_attention_heads=1, image_size=side, patch_size=1)
    embed = idefics3.Idefics3VisionEmbeddings(settings)
    with torch.no_grad():
        embed.patch_embedding.weight.zero_(), embed.patch_embedding.bias.zero_()
        embed.position_embedding.weight.copy_(torch.arange(side**2)[:, None].expand(-1, 4))
        found = embed(torch.zeros(1, 3, side, side), torch.ones(1, side, side, dtype=torch.bool))
    assert found[0, :, 0].tolist() == list(range(side**2))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"hidden_act": "relu"}, "hidden_act"),
        ({"image_size": [22, 44]}, "not square"),
        ({"use_absolute_position_embeddings": False}, "use_absolute_position_embeddings"),
    ],
)
def test_settings_that_we_lack_are_refused(change, what):
    hf = transformers.InternVLVisionConfig(**SIZES).to_dict() | change
    with pytest.raises(ValueError, match=what):
        vision.internvit(hf)


@pytest.mark.parametrize("layer", [[-2, -3], -4, 4, 0])
def test_layers_that_are_several_or_not_there_are_refused(layer):
    with pytest.raises(ValueError, match="vision_feature_layer"):
        vision.clip(transformers.CLIPVisionConfig(**SIZES).to_dict(), layer)


def test_tiles_of_another_size_are_refused():
    with pytest.raises(ValueError, match="22 x 22"):
        jax.eval_shape(lambda: VisionTransformer(CONFIG).init(jax.random.key(0), jnp.zeros((1, 24, 24, 3))))
