"""Our MLLM against LLaVA and Llama of transformers: same weights, same logits, gradients and greedy answers."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from align_jax.data.pack import TreePacker
from align_jax.models import mllm
from align_jax.models.mllm import MLLMConfig
from align_jax.rollout.sampler import sample
from align_jax.scoring import score
from align_jax.types import Example, Mean, Policy

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.parity

VOCAB, IMAGE_TOKEN, PAD, IMAGE, PATCH = 320, 300, 0, 28, 14
TOKENS_PER_IMAGE = (IMAGE // PATCH) ** 2
PICTURES = (1, 2, 0)  # in each row's prompt

TEXT = transformers.LlamaConfig(
    vocab_size=VOCAB,
    hidden_size=64,
    intermediate_size=128,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=512,
)
VISION = transformers.CLIPVisionConfig(
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=3,
    num_attention_heads=4,
    image_size=IMAGE,
    patch_size=PATCH,
    projection_dim=32,
    hidden_act="quick_gelu",
)
OUR_DECODER = dict(
    vocab_size=VOCAB,
    dim=64,
    layers=2,
    heads=4,
    kv_heads=2,
    head_dim=16,
    mlp_dim=128,
    rope_theta=TEXT.rope_parameters["rope_theta"],
    norm_eps=TEXT.rms_norm_eps,
)
# LLaVA reads the output of the last layer but one, so that the last layer and the norm after it never run.
OUR_VISION = dict(
    image_size=IMAGE,
    patch_size=PATCH,
    dim=32,
    layers=2,
    heads=4,
    mlp_dim=64,
    class_token=True,
    pre_norm=True,
    post_norm=False,
    activation="quick_gelu",
)


def randomised(model):
    """Every parameter: fresh biases are 0 and fresh norms are 1, and would hide what is done with them."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def decoder_params(weights, prefix: str) -> dict:
    """Llama's tensors, or their gradients, as `params["decoder"]`. torch keeps [out, in]."""

    def layers(name: str, *shape: int) -> jnp.ndarray:
        return jnp.stack([weights[f"{prefix}layers.{i}.{name}.weight"].T.reshape(shape) for i in range(2)])

    return {
        "embed": {"embedding": weights[f"{prefix}embed_tokens.weight"]},
        "layers": {
            "attention_norm": {"scale": layers("input_layernorm", 64)},
            "attention": {
                "query": {"kernel": layers("self_attn.q_proj", 64, 4, 16)},
                "key": {"kernel": layers("self_attn.k_proj", 64, 2, 16)},
                "value": {"kernel": layers("self_attn.v_proj", 64, 2, 16)},
                "out": {"kernel": layers("self_attn.o_proj", 4, 16, 64)},
            },
            "mlp_norm": {"scale": layers("post_attention_layernorm", 64)},
            "mlp": {
                "gate": {"kernel": layers("mlp.gate_proj", 64, 128)},
                "up": {"kernel": layers("mlp.up_proj", 64, 128)},
                "down": {"kernel": layers("mlp.down_proj", 128, 64)},
            },
        },
        "norm": {"scale": weights[f"{prefix}norm.weight"]},
        "head": {"kernel": weights["lm_head.weight"].T},
    }


def vision_params(weights, prefix: str = "model.vision_tower.") -> dict:
    """CLIP's tensors as `params["vision"]`."""

    def layers(name: str, kernel: tuple[int, ...], bias: tuple[int, ...], kernel_name: str = "kernel") -> dict:
        def stack(part: str, shape: tuple[int, ...]) -> jnp.ndarray:
            return jnp.stack([weights[f"{prefix}encoder.layers.{i}.{name}.{part}"].T.reshape(shape) for i in range(2)])

        return {kernel_name: stack("weight", kernel), "bias": stack("bias", bias)}

    projections = {"query": "q_proj", "key": "k_proj", "value": "v_proj"}
    return {
        "class_embedding": weights[f"{prefix}embeddings.class_embedding"][None],
        "position_embedding": weights[f"{prefix}embeddings.position_embedding.weight"],
        # [dim, channels, height, width] of a convolution -> our patches, flattened as (height, width, channels).
        "patch": {
            "kernel": weights[f"{prefix}embeddings.patch_embedding.weight"].transpose(2, 3, 1, 0).reshape(-1, 32)
        },
        "pre_norm": {
            "scale": weights[f"{prefix}pre_layrnorm.weight"],
            "bias": weights[f"{prefix}pre_layrnorm.bias"],
        },
        "layers": {
            "attention_norm": layers("layer_norm1", (32,), (32,), "scale"),
            **{ours: layers(f"self_attn.{name}", (32, 4, 8), (4, 8)) for ours, name in projections.items()},
            "out": layers("self_attn.out_proj", (4, 8, 32), (32,)),
            "mlp_norm": layers("layer_norm2", (32,), (32,), "scale"),
            "up": layers("mlp.fc1", (32, 64), (64,)),
            "down": layers("mlp.fc2", (64, 32), (32,)),
        },
    }


def llava_params(weights) -> dict:
    """All of LLaVA's tensors as our parameters."""

    def dense(name: str) -> dict:
        name = f"model.multi_modal_projector.{name}"
        return {"kernel": weights[f"{name}.weight"].T, "bias": weights[f"{name}.bias"]}

    return {
        "decoder": decoder_params(weights, "model.language_model."),
        "projector": {"up": dense("linear_1"), "down": dense("linear_2")},
        "vision": vision_params(weights),
    }


@dataclasses.dataclass(frozen=True)
class Case:
    """The same model twice."""

    theirs: torch.nn.Module
    policy: Policy
    to_ours: Callable  # their tensors by name -> our tree

    @functools.cached_property
    def params(self) -> dict:
        return self.tree_of(lambda parameter: parameter)

    def tree_of(self, read) -> dict:
        """Our tree of what `read` takes from each of their parameters; None is left out."""
        arrays = {name: read(parameter) for name, parameter in self.theirs.named_parameters()}
        arrays = {name: jnp.asarray(x.detach().numpy()) for name, x in arrays.items() if x is not None}
        return jax.tree.map(jnp.asarray, self.to_ours(arrays))

    def inputs(self, sequences: list[np.ndarray], examples: list[Example], side: str) -> dict:
        """Arguments of their model for sequences, padded on a side; pictures go in the order of the sequences."""
        width = max(map(len, sequences))
        pads = [(width - len(s), 0) if side == "left" else (0, width - len(s)) for s in sequences]
        padded = np.stack([np.pad(s, pad, constant_values=PAD) for s, pad in zip(sequences, pads, strict=True)])
        mask = np.stack([np.pad(np.ones(len(s), int), pad) for s, pad in zip(sequences, pads, strict=True)])
        pixels = np.concatenate([e.images for e in examples]).transpose(0, 3, 1, 2)
        inputs = {"input_ids": padded.astype(np.int64), "attention_mask": mask}
        inputs |= {"pixel_values": pixels} if len(pixels) else {}
        return {name: torch.from_numpy(np.ascontiguousarray(x)) for name, x in inputs.items()}


@pytest.fixture(scope="module", params=["llava", "llama"])
def case(request) -> Case:
    if request.param == "llama":
        theirs = randomised(transformers.LlamaForCausalLM(TEXT))
        ours = mllm.build(MLLMConfig.from_dict({"decoder": OUR_DECODER}))
        return Case(theirs, ours, lambda weights: {"decoder": decoder_params(weights, "model.")})
    config = transformers.LlavaConfig(
        vision_config=VISION,
        text_config=TEXT,
        image_token_index=IMAGE_TOKEN,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
    )
    theirs = randomised(transformers.LlavaForConditionalGeneration(config))
    sizes = {
        "decoder": OUR_DECODER,
        "vision": OUR_VISION,
        "projector": dict(dim=64, hidden_dim=64),
        "image_token": IMAGE_TOKEN,
    }
    return Case(theirs, mllm.build(MLLMConfig.from_dict(sizes)), llava_params)


@pytest.fixture(scope="module")
def examples(case) -> list[Example]:
    """Ragged prompts with one picture, two, and none (Llama: none at all), each with two ragged completions."""
    rng, made = np.random.default_rng(0), []
    for row, pictures in enumerate(PICTURES):
        pictures = pictures if "vision" in case.params else 0
        prompt = [rng.integers(1, IMAGE_TOKEN, 2 + row)]
        for _ in range(pictures):
            prompt += [np.full(TOKENS_PER_IMAGE, IMAGE_TOKEN), rng.integers(1, IMAGE_TOKEN, 3)]
        completions = {name: rng.integers(1, IMAGE_TOKEN, rng.integers(3, 9)) for name in ("chosen", "rejected")}
        images = rng.normal(size=(pictures, IMAGE, IMAGE, 3)).astype(np.float32)
        made.append(Example(str(row), np.concatenate(prompt).astype(np.int32), images, completions))
    return made


@pytest.fixture(scope="module")
def tree(case, examples):
    """The examples as a tree; its first row is padded on the left, the others on the right."""
    images = max(len(e.images) for e in examples)
    pack = TreePacker(len(examples), 20, 8, images, (IMAGE, IMAGE, 3), PAD)
    packed = pack(examples, ("chosen", "rejected"))
    for padded in (packed.prompt, packed.prompt_mask):
        padded[0] = np.roll(padded[0], 20 - (len(examples[0].prompt) - 1))
    if packed.media:  # what no placeholder points to must not be seen
        packed.media.pixels[2] = 5.0
    return jax.tree.map(jnp.asarray, packed)


@pytest.fixture(scope="module")
def their_logits(case, examples) -> list[torch.Tensor]:
    """[r, V] for each completion, in the order of the tree's rows and completions; on torch's tape."""
    rows = [(e, c) for e in examples for c in e.completions.values()]
    inputs = case.inputs([np.concatenate([e.prompt, c]) for e, c in rows], [e for e, _ in rows], "right")
    logits = case.theirs(**inputs).logits
    return [x[len(e.prompt) - 1 :][: len(c)] for x, (e, c) in zip(logits, rows, strict=True)]


def at_targets(tree, x) -> list[np.ndarray]:
    """The part of [B, K, R, ...] that belongs to each completion."""
    lengths = np.asarray(tree.mask.sum(-1), int)
    return [np.asarray(x[b, k, :n]) for (b, k), n in np.ndenumerate(lengths)]


def test_logits_are_equal(case, tree, their_logits):
    logits = jax.jit(lambda params: case.policy.unembed(params, case.policy.hidden(params, tree)))(case.params)
    for ours, theirs in zip(at_targets(tree, logits), their_logits, strict=True):
        theirs = theirs.detach().numpy()
        assert 0.5 < theirs.std() < 1.5  # the scale; both sides round by 3e-6, a wrong epsilon in a norm shows as 5e-5
        np.testing.assert_allclose(ours, theirs, atol=2e-5, rtol=0)


def test_pictures_change_what_the_oracle_says(case, examples, their_logits):
    if "vision" not in case.params:
        pytest.skip("no pictures")
    blank = [dataclasses.replace(e, images=np.zeros_like(e.images)) for e in examples]
    rows = [(e, e.completions["chosen"]) for e in blank]
    inputs = case.inputs([np.concatenate([e.prompt, c]) for e, c in rows], blank, "right")
    logits = case.theirs(**inputs).logits.detach()
    first = [x[len(e.prompt) - 1] for x, e in zip(logits, blank, strict=True)]
    changes = [float((a - b[0].detach()).abs().max()) for a, b in zip(first, their_logits[::2], strict=True)]
    assert changes[0] > 0.1 and changes[1] > 0.1 and changes[2] < 1e-4


@pytest.mark.parametrize("chunk", [3, 128])
def test_log_probabilities_of_completions_are_equal(case, examples, tree, their_logits, chunk):
    scores = jax.jit(functools.partial(score, case.policy, chunk=chunk))(case.params, tree)
    targets = [c for e in examples for c in e.completions.values()]
    for ours, logits, target in zip(at_targets(tree, scores.logps), their_logits, targets, strict=True):
        theirs = logits.log_softmax(-1)[range(len(target)), target].detach().numpy()
        np.testing.assert_allclose(ours, theirs, atol=2e-5, rtol=0)


def test_gradients_of_every_parameter_are_equal(case, examples, tree, their_logits):
    def loss(params):
        scores = score(case.policy, params, tree)
        return Mean.of(-scores.logps, scores.mask).value

    ours = jax.jit(jax.grad(loss))(case.params)
    targets = torch.from_numpy(np.concatenate([c for e in examples for c in e.completions.values()]))
    case.theirs.zero_grad()
    torch.nn.functional.cross_entropy(torch.cat(their_logits), targets).backward(retain_graph=True)
    theirs = case.tree_of(lambda parameter: parameter.grad)
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for part in theirs:
        whole = np.sqrt(sum(float((x**2).sum()) for x in jax.tree.leaves(theirs[part])))
        assert whole > 1e-3
        for path, expected in jax.tree_util.tree_leaves_with_path(theirs[part]):
            actual = functools.reduce(lambda node, key: node[key.key], path, ours[part])
            error, size = np.linalg.norm(actual - expected), np.linalg.norm(expected)
            # Softmax does not see the bias of keys: their gradient is rounding, and has no relative error.
            assert error <= 1e-4 * size + 1e-6 * whole, (part, path, error, size)


def test_greedy_answers_are_equal_token_for_token(case, examples, tree):
    prompts = case.inputs([e.prompt for e in examples], examples, "left")
    theirs = case.theirs.generate(**prompts, do_sample=False, max_new_tokens=16, eos_token_id=None, pad_token_id=PAD)[
        :, -16:
    ]
    no_end = -1
    ours = sample(
        case.policy, case.params, tree, jax.random.key(0), completions=1, max_tokens=16, eos=no_end, temperature=0.0
    )
    assert len(set(theirs.flatten().tolist())) > 10, "a model that repeats itself shows little"
    np.testing.assert_array_equal(ours.tokens[:, 0], theirs.numpy())
