"""Adapters that PEFT puts on the published model do what they do here."""

import json
import warnings
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from align_jax.models import lora, mllm, pretrained
from align_jax.models.lora import LoraConfig
from align_jax.models.peft import save_adapter
from align_jax.models.stored import CheckpointError
from tests.models.families import llava_parity_test, parity, qwen_vl_parity_test, text_parity_test

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")

pytestmark = pytest.mark.parity

DECODER = "^decoder/layers/.*kernel$"
# A family of each kind of names: the same in memory as on disk; one level apart; another order of parts.
CASES = {
    "llama": (text_parity_test.TestLlama, LoraConfig(rank=4, alpha=8.0)),
    "attention only, rslora": (
        text_parity_test.TestQwen2,
        LoraConfig(rank=4, alpha=4.0, targets=("attention/(query|value)/kernel",), rslora=True),
    ),
    "qwen2_5_vl": (
        qwen_vl_parity_test.TestQwen2_5_VL,
        LoraConfig(rank=4, alpha=8.0, targets=(DECODER, "^vision/layers/.*kernel$", "^vision/merger/.*kernel$")),
    ),
    "qwen3_vl": (
        qwen_vl_parity_test.TestQwen3VL,
        LoraConfig(rank=4, alpha=8.0, targets=(DECODER, "^vision/layers/.*kernel$")),
    ),
    "llava": (
        llava_parity_test.TestLlava,
        LoraConfig(rank=4, alpha=8.0, targets=(DECODER, "^vision/layers/.*kernel$", "^projector/.*kernel$")),
    ),
}


class Case(NamedTuple):
    kind: type[parity.Parity]
    config: LoraConfig
    folder: Path
    opened: pretrained.Pretrained
    adapter: lora.Adapter
    theirs: "torch.nn.Module"

    def logits(self, model) -> np.ndarray:
        """Their logits, at prompts of text and pictures."""
        rng = np.random.default_rng(0)
        prompts = [self.kind.prompt(self.folder, rng, row).ids for row in self.kind.rows]
        inputs = self.kind.their_inputs(self.folder, prompts, self.kind.rows, "right")
        with torch.no_grad():
            logits = model.eval()(**inputs).logits.numpy()
        return logits[inputs["attention_mask"].numpy() > 0]


@pytest.fixture(scope="module", params=CASES)
def case(request, tmp_path_factory) -> Case:
    kind, config = CASES[request.param]
    folder = tmp_path_factory.mktemp("published")
    theirs = parity.randomised(kind.model(), kind.scale, kind.embeddings)
    theirs.save_pretrained(folder)
    kind.prepare(folder)
    opened = pretrained.from_pretrained(folder)
    adapter = lora.init(jax.random.key(0), opened.params, config, mllm.matrix_axes)
    rng = np.random.default_rng(1)
    adapter = jax.tree.map(lambda x: jnp.asarray(0.1 * rng.normal(size=x.shape), jnp.float32), adapter)
    return Case(kind, config, folder, opened, adapter, theirs)


def test_peft_gives_the_same_logits_as_the_merged_weights(case, tmp_path):
    family, params = case.opened
    save_adapter(tmp_path / "adapter", family, case.adapter, case.config, base=str(case.folder))
    merged = lora.merge(params, case.adapter, case.config)
    pretrained.save_pretrained(tmp_path / "merged", family, merged, like=case.folder)

    before = case.logits(case.theirs)
    expected = case.logits(type(case.theirs).from_pretrained(tmp_path / "merged"))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # PEFT warns of adapter tensors that are missing
        adapted = peft.PeftModel.from_pretrained(type(case.theirs).from_pretrained(case.folder), tmp_path / "adapter")
    assert np.abs(expected - before).mean() > 0.1, "an adapter that changes something"
    np.testing.assert_allclose(case.logits(adapted), expected, atol=1e-4, rtol=0)

    # Every tensor has found a place, and there is no place without one.
    stored = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    loaded = peft.get_peft_model_state_dict(adapted)
    assert stored.keys() == loaded.keys()
    for name, x in stored.items():
        np.testing.assert_array_equal(loaded[name].numpy(), x)
    np.testing.assert_allclose(case.logits(adapted.merge_and_unload()), expected, atol=1e-4, rtol=0)


def test_the_adapter_is_of_one_module_for_each_adapted_matrix_of_each_layer(case, tmp_path):
    save_adapter(tmp_path / "adapter", case.opened.family, case.adapter, case.config, base="somewhere")
    settings = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    modules = dict(case.theirs.named_modules())
    assert len(set(settings["target_modules"])) == len(settings["target_modules"])
    for name in settings["target_modules"]:
        assert isinstance(modules[name], torch.nn.Linear), name
    matrices = sum(len(halves["a"]) if halves["a"].ndim == 3 else 1 for halves in case.adapter.values())
    assert len(settings["target_modules"]) == matrices
    assert settings["base_model_name_or_path"] == "somewhere" and settings["r"] == 4


def test_an_existing_folder_is_not_written_into(case, tmp_path):
    with pytest.raises(CheckpointError, match="exists"):
        save_adapter(tmp_path, case.opened.family, case.adapter, case.config, base="somewhere")
    assert not list(tmp_path.iterdir())


def test_what_is_no_linear_layer_there_is_refused(case, tmp_path):
    paths = [t.ours for t in case.opened.family.weights if t.ours == "vision/patch/kernel"] + [
        "decoder/embed/embedding"
    ]
    for path in paths:
        halves = {"a": jnp.ones((2, 4)), "b": jnp.ones((4, 2))}
        with pytest.raises(ValueError, match=f"{path} is stored as .*weight, which is no linear layer"):
            save_adapter(tmp_path / "out", case.opened.family, {path: halves}, case.config, base="somewhere")
    assert not list(tmp_path.iterdir())
