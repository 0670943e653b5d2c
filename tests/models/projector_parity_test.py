"""Our tower and projector against `get_image_features` of every family that takes tiles: same weights, same features.

What the language model is given is what leaves the projector: the layer that it reads, and what is dropped on the way,
are part of the comparison.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from align_jax.models import projector, vit
from align_jax.models.families import projectors, vision
from align_jax.models.projector import Projector, ProjectorConfig
from align_jax.models.vit import VisionConfig, VisionTransformer
from align_jax.models.vit_names import INTERNVIT
from align_jax.models.weights import Tensor
from align_jax.sharding import match
from tests.models.tower_parity import arrays_of, compare_gradients, gradients_of, randomised, to_params

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.parity

IMAGE, TILES, DIM = 16, 5, 24
TEXT = dict(
    vocab_size=32,
    hidden_size=DIM,
    intermediate_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    num_key_value_heads=1,
    pad_token_id=0,
)
VISION = dict(
    hidden_size=16,
    intermediate_size=20,
    num_hidden_layers=3,
    num_attention_heads=2,
    image_size=IMAGE,
    patch_size=4,
)
LLAMA, QWEN = {"model_type": "llama", **TEXT}, {"model_type": "qwen2", **TEXT}
PINPOINTS = {"image_grid_pinpoints": [[32, 32]]}  # four tiles, and the whole picture


@dataclasses.dataclass(frozen=True)
class Case:
    """The same tower and projector twice."""

    theirs: "torch.nn.Module"
    vision: VisionConfig
    projector: ProjectorConfig
    tensors: list[Tensor]
    ask: Callable  # get_image_features of tiles f32[5, 3, 16, 16]
    prefixes: tuple[str, str] = ("model.vision_tower.", "model.multi_modal_projector.")

    @functools.cached_property
    def params(self) -> dict:
        shapes = jax.eval_shape(lambda: init(self.vision, self.projector))
        return to_params(self.tensors, arrays_of(self.theirs, *self.prefixes), shapes)

    @functools.cached_property
    def their_features(self) -> "torch.Tensor":
        """[TILES, T, DIM] that leave the projector, on torch's tape."""
        left = []
        part = self.theirs.get_submodule(self.prefixes[1].removesuffix("."))
        handle = part.register_forward_hook(lambda module, inputs, output: left.append(output))
        self.ask(self.theirs.model, torch.from_numpy(pixels().transpose(0, 3, 1, 2).copy()))
        handle.remove()
        (features,) = left
        return features


def tower_and_projector(theirs, tower, projector_config, tower_names=vit.CLIP, names=projector.LLAVA, **settings):
    prefixes = settings.get("prefixes", Case.prefixes)
    tensors = vit.weights(tower, prefixes[0], tower_names) + projector.weights(projector_config, prefixes[1], names)
    return Case(theirs, tower, projector_config, tensors, **settings)


def llava(next: bool, layer: int = -2) -> Case:
    config, kind, more = transformers.LlavaConfig, transformers.LlavaForConditionalGeneration, {}
    if next:
        config, kind, more = transformers.LlavaNextConfig, transformers.LlavaNextForConditionalGeneration, PINPOINTS
    clip = {"model_type": "clip_vision_model", **VISION}
    theirs = kind(config(vision_config=clip, text_config=LLAMA, vision_feature_layer=layer, **more))
    hf = theirs.config.to_dict()
    sizes = {"image_sizes": torch.tensor([[32, 32]])} if next else {}
    return tower_and_projector(
        theirs,
        vision.clip(hf["vision_config"], hf["vision_feature_layer"]),
        projectors.llava(hf),
        ask=lambda model, tiles: model.get_image_features(tiles[None] if next else tiles, **sizes),
    )


def llava_onevision() -> Case:
    siglip = {"model_type": "siglip_vision_model", "vision_use_head": False, **VISION}
    config = transformers.LlavaOnevisionConfig(vision_config=siglip, text_config=QWEN, **PINPOINTS)
    theirs = transformers.LlavaOnevisionForConditionalGeneration(config)
    hf = theirs.config.to_dict()
    assert (hf["vision_feature_layer"], hf["vision_feature_select_strategy"]) == (-1, "full"), "the default"
    return tower_and_projector(
        theirs,
        vision.siglip(hf["vision_config"], hf["vision_feature_layer"]),
        projectors.llava(hf),
        ask=lambda model, tiles: model.get_image_features(tiles[None], torch.tensor([[32, 32]])),
    )


def gemma3() -> Case:
    siglip = {"model_type": "siglip_vision_model", **VISION}
    text = {"model_type": "gemma3_text", "head_dim": 8, **TEXT}
    config = transformers.Gemma3Config(vision_config=siglip, text_config=text, mm_tokens_per_image=4)
    theirs = transformers.Gemma3ForConditionalGeneration(config)
    hf = theirs.config.to_dict()
    return tower_and_projector(
        theirs,
        vision.siglip(hf["vision_config"]),
        projectors.gemma3(hf),
        names=projector.GEMMA3,
        ask=lambda model, tiles: model.get_image_features(tiles),
    )


def internvl() -> Case:
    tower = {"model_type": "internvl_vision", **VISION, "image_size": [IMAGE, IMAGE], "patch_size": [4, 4]}
    theirs = transformers.InternVLForConditionalGeneration(
        transformers.InternVLConfig(vision_config=tower, text_config=QWEN)
    )
    hf = theirs.config.to_dict()
    return tower_and_projector(
        theirs,
        vision.internvit(hf["vision_config"], hf["vision_feature_layer"]),
        projectors.internvl(hf),
        INTERNVIT,
        projector.INTERNVL,
        ask=lambda model, tiles: model.get_image_features(tiles),
    )


def idefics3(smol: bool) -> Case:
    config, kind = transformers.Idefics3Config, transformers.Idefics3ForConditionalGeneration
    if smol:
        config, kind = transformers.SmolVLMConfig, transformers.SmolVLMForConditionalGeneration
    tower = {"model_type": "smolvlm_vision" if smol else "idefics3_vision", **VISION}
    theirs = kind(config(vision_config=tower, text_config=LLAMA))
    hf = theirs.config.to_dict()
    return tower_and_projector(
        theirs,
        vision.idefics3(hf["vision_config"]),
        projectors.idefics3(hf),
        names=projector.IDEFICS3,
        ask=lambda model, tiles: model.get_image_features(tiles[None]),
        prefixes=("model.vision_model.", "model.connector."),
    )


CASES = {
    "llava": lambda: llava(False),
    "llava, another layer": lambda: llava(False, -1),
    "llava_next": lambda: llava(True),
    "llava_onevision": llava_onevision,
    "gemma3": gemma3,
    "internvl": internvl,
    "idefics3": lambda: idefics3(False),
    "smolvlm": lambda: idefics3(True),
}


def both(tower: VisionConfig, config: ProjectorConfig):
    return VisionTransformer(tower), Projector(config)


@functools.partial(jax.jit, static_argnums=(0, 1))
def init(tower: VisionConfig, config: ProjectorConfig) -> dict:
    see, project = both(tower, config)
    seen, params = see.init_with_output(jax.random.key(0), vit.blank(tower).pixels[0])
    return {"vision": params["params"], "projector": project.init(jax.random.key(0), seen)["params"]}


@functools.partial(jax.jit, static_argnums=(0, 1))
def features_and_gradients(tower, config, params: dict, pixels: jax.Array):
    """Features [M, T, DIM], and the gradient of the sum of their sines."""
    see, project = both(tower, config)

    def loss(params):
        features = project.apply({"params": params["projector"]}, see.apply({"params": params["vision"]}, pixels))
        return jnp.sin(features.astype(jnp.float32)).sum(), features

    (_, features), gradients = jax.value_and_grad(loss, has_aux=True)(params)
    return features, gradients


def pixels() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(TILES, IMAGE, IMAGE, 3)).astype(np.float32)


@pytest.fixture(scope="module", params=CASES)
def case(request) -> Case:
    made = CASES[request.param]()
    randomised(made.theirs)
    return made


@pytest.fixture(scope="module")
def ours(case):
    return features_and_gradients(case.vision, case.projector, case.params, pixels())


def test_features_are_equal(case, ours):
    expected = case.their_features.detach().numpy()
    assert expected.shape == (TILES, case.vision.patches // case.projector.pool**2, DIM)
    assert 0.1 < expected.std() < 3.0
    assert np.abs(expected[:, :1] - expected[:, 1:]).max() > 0.1, "squares of patches differ"
    np.testing.assert_allclose(ours[0], expected, atol=2e-5, rtol=0)


def test_gradients_are_equal_and_what_is_idle_has_none(case, ours):
    case.theirs.zero_grad()
    case.their_features.sin().sum().backward(retain_graph=True)
    theirs = gradients_of(case.theirs, list(arrays_of(case.theirs, *case.prefixes)))
    compare_gradients(case.tensors, ours[1], theirs, vit.idle(case.vision))


def test_every_parameter_has_one_rule(case):
    match(case.params, (*vit.rules(case.vision), *projector.rules(case.projector)))


def test_squares_are_gathered_row_by_row():
    patches = jnp.arange(16.0).reshape(1, 16, 1)
    squares = projector.gather_squares(patches, 2)[0, :, :, 0]
    np.testing.assert_array_equal(squares, [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]])


@pytest.mark.parametrize("patches", [9, 8])
def test_patches_that_make_no_squares_are_refused(patches):
    with pytest.raises(ValueError, match="do not pool by 2"):
        projector.gather_squares(jnp.zeros((1, patches, 4)), 2)


def test_bfloat16_runs(case, ours):
    as_bfloat16 = [dataclasses.replace(c, dtype="bfloat16") for c in (case.vision, case.projector)]
    features, _ = jax.eval_shape(functools.partial(features_and_gradients, *as_bfloat16), case.params, pixels())
    assert features.dtype == jnp.bfloat16


def test_an_activation_that_we_lack_is_refused():
    hf = {"text_config": {"hidden_size": 8}, "projector_hidden_act": "relu6", "multimodal_projector_bias": True}
    with pytest.raises(ValueError, match="projector_hidden_act"):
        projectors.llava(hf)
