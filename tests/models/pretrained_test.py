import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from align_jax import sharding
from align_jax.models import architecture, mllm, pretrained
from align_jax.models.architecture import open_family
from align_jax.models.pretrained import from_pretrained, save_pretrained
from align_jax.models.stored import INDEX, SINGLE, CheckpointError, Stored, write_shards

pytest.importorskip("transformers")  # fills in what config.json leaves out; does without torch

QWEN2 = dict(
    model_type="qwen2",
    vocab_size=48,
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=64,
    tie_word_embeddings=False,
)
TOWER = dict(image_size=28, patch_size=14, hidden_size=16, intermediate_size=32, num_attention_heads=2)
LLAVA = dict(
    model_type="llava",
    image_token_index=40,
    text_config={**QWEN2, "model_type": "llama"},
    vision_config=dict(TOWER, model_type="clip_vision_model", num_hidden_layers=3, projection_dim=8),
)
HEAD, EMBED, QUERY = "lm_head.weight", "model.embed_tokens.weight", "model.layers.1.self_attn.q_proj.weight"

Tensors = dict[str, np.ndarray]


def write(folder: Path, config: Mapping[str, Any], tensors: Tensors | None = None) -> Path:
    """A checkpoint in one file."""
    folder.mkdir(exist_ok=True, parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    if tensors is not None:
        write_shards(folder, iter(tensors.items()), max_bytes=10**9)
    return folder


def drawn(folder: Path, config: Mapping[str, Any], dtype: str = "float32") -> Tensors:
    """Random tensors under their published names; `folder` is for the config."""
    family, rng = open_family(write(folder, config)), np.random.default_rng(0)
    shapes = mllm.param_shapes(family.sizes)
    params = jax.tree.map(lambda x: rng.normal(size=x.shape).astype(jnp.dtype(dtype)), shapes)
    return dict(pretrained.tensors(family, params))


@pytest.fixture(scope="module")
def tensors(tmp_path_factory) -> Tensors:
    return drawn(tmp_path_factory.mktemp("config"), QWEN2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tensors) -> Path:
    path = write(tmp_path_factory.mktemp("published"), QWEN2, tensors)
    (path / "tokenizer.json").write_text("{}")
    return path


@pytest.fixture(scope="module")
def opened(folder) -> pretrained.Pretrained:
    return from_pretrained(folder)


def assert_equal(a, b) -> None:
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y))


def test_tensors_become_parameters(opened, tensors):
    decoder, layers = opened.params["decoder"], opened.params["decoder"]["layers"]
    name = "model.layers.{}.self_attn.{}_proj.{}".format
    for i in range(2):
        attention = jax.tree.map(lambda x, i=i: x[i], layers["attention"])
        # Theirs is [heads * size, dim] and [dim, heads * size]; a head is a run of rows or columns.
        np.testing.assert_array_equal(attention["query"]["kernel"][:, 3], tensors[name(i, "q", "weight")][24:].T)
        np.testing.assert_array_equal(attention["key"]["kernel"][:, 1], tensors[name(i, "k", "weight")][8:].T)
        np.testing.assert_array_equal(attention["value"]["bias"][1], tensors[name(i, "v", "bias")][8:])
        np.testing.assert_array_equal(attention["out"]["kernel"][2], tensors[name(i, "o", "weight")][:, 16:24].T)
        down = tensors[f"model.layers.{i}.mlp.down_proj.weight"]
        np.testing.assert_array_equal(layers["mlp"]["down"]["kernel"][i], down.T)
    np.testing.assert_array_equal(decoder["embed"]["embedding"], tensors[EMBED])
    np.testing.assert_array_equal(decoder["head"]["kernel"], tensors[HEAD].T)


def test_everything_that_does_not_fit_is_in_one_report(tmp_path, tensors):
    kept = {name: x for name, x in tensors.items() if name not in (QUERY, "model.norm.weight")}
    kept[EMBED] = kept[EMBED][:, :5]
    kept["model.layers.0.mlp.up_proj.weight"] = kept["model.layers.0.mlp.up_proj.weight"].astype(np.int8)
    kept |= {"model.layers.2.mlp.up_proj.weight": kept[HEAD], "adapter.weight": kept[HEAD]}
    with pytest.raises(CheckpointError) as raised:
        from_pretrained(write(tmp_path / "bad", QWEN2, kept))
    report = str(raised.value)
    assert "2 missing" in report and f"{QUERY} (32, 32)" in report and "model.norm.weight (32,)" in report
    assert "1 misshapen" in report and f"{EMBED} is (48, 5), expected (48, 32)" in report
    assert "2 surplus" in report and "adapter.weight" in report and "model.layers.2.mlp.up_proj.weight" in report
    assert "1 of a type that is not read" in report and "model.layers.0.mlp.up_proj.weight is I8" in report
    assert len([line for line in report.splitlines() if line.startswith("    ")]) == 6, "and nothing else"


def test_a_folder_without_config_one_that_is_damaged_and_unknown_models_are_told_apart(tmp_path):
    with pytest.raises(CheckpointError, match="not a Hugging Face checkpoint: it has no config.json"):
        from_pretrained(tmp_path)
    for text in ("{", "[]", "3", ""):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(CheckpointError, match="config.json is not the JSON of a config"):
            from_pretrained(tmp_path)
    for config in ({"model_type": "gpt2"}, {}):
        with pytest.raises(
            CheckpointError, match=r"config.json is of model_type ('gpt2'|None).*llama.*qwen2.*qwen3_vl"
        ):
            from_pretrained(write(tmp_path, config))


def test_quantised_checkpoints_are_refused_by_their_config(tmp_path, tensors):
    config = QWEN2 | {"quantization_config": {"quant_method": "awq", "bits": 4}}
    with pytest.raises(CheckpointError, match=r"config.json: the weights are quantised \(awq\).*not quantised"):
        from_pretrained(write(tmp_path / "awq", config, tensors))


def test_a_config_that_transformers_refuses_is_named(tmp_path):
    rope = {"rope_type": "longrope", "rope_theta": 1e4}
    with pytest.raises(CheckpointError, match=r"config.json: transformers cannot read it.*long_factor"):
        open_family(write(tmp_path, QWEN2 | {"rope_parameters": rope}))


def test_a_setting_that_we_cannot_run_is_named(tmp_path):
    factors = [1.0] * (QWEN2["hidden_size"] // QWEN2["num_attention_heads"] // 2)
    rope = {"rope_type": "longrope", "rope_theta": 1e4, "long_factor": factors, "short_factor": factors}
    with pytest.raises(ValueError, match="rope_type 'longrope' is not supported"):
        open_family(write(tmp_path, QWEN2 | {"rope_parameters": rope}))


def test_errors_of_files_reach_the_user(tmp_path, folder):
    shutil.copytree(folder, tmp_path / "cut")
    path = tmp_path / "cut" / SINGLE
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="model.safetensors is damaged or cut off"):
        from_pretrained(tmp_path / "cut")
    path.rename(path.with_suffix(".bin"))
    with pytest.raises(CheckpointError, match="bin files only"):
        from_pretrained(tmp_path / "cut")


def test_buffers_that_older_versions_stored_are_ignored(tmp_path, tensors, opened):
    old = {
        "model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(4, np.float32),
        "model.embeddings.position_ids": np.arange(8),
    }
    assert_equal(from_pretrained(write(tmp_path / "old", QWEN2, tensors | old)).params, opened.params)


def test_a_head_that_is_stored_although_it_is_the_embeddings_is_read_once(tmp_path, tensors):
    tied = QWEN2 | {"tie_word_embeddings": True}
    params = from_pretrained(write(tmp_path / "tied", tied, tensors | {HEAD: tensors[EMBED]})).params
    assert "head" not in params["decoder"]
    np.testing.assert_array_equal(params["decoder"]["embed"]["embedding"], tensors[EMBED])


def test_a_head_of_its_own_is_kept_although_the_config_denies_it(tmp_path, tensors, monkeypatch):
    """As InternVL 3 is published: its config leaves the default, which transformers 5 has changed."""
    monkeypatch.setattr(architecture, "ROWS", 5)
    head = tensors[EMBED].copy()
    head[-1] += 1.0
    source = write(tmp_path / "source", QWEN2 | {"tie_word_embeddings": True}, tensors | {HEAD: head})
    opened = from_pretrained(source)
    np.testing.assert_array_equal(opened.params["decoder"]["head"]["kernel"], head.T)
    architecture.carry(source, tmp_path / "workdir")
    assert open_family(tmp_path / "workdir") == opened.family
    save_pretrained(tmp_path / "out", *opened, like=source)
    assert json.loads((tmp_path / "out" / "config.json").read_text())["tie_word_embeddings"] is False
    assert_equal(from_pretrained(tmp_path / "out").params, opened.params)


@pytest.mark.parametrize("base", [QWEN2, LLAVA], ids=["qwen2", "llava"])
def test_without_a_head_the_embeddings_are_it_and_a_workdir_without_weights_knows(tmp_path, base):
    """As LLaVA-OneVision 0.5B is published: the config denies it."""
    headless = {n: x for n, x in drawn(tmp_path / "config", base).items() if not n.endswith(HEAD)}
    source = write(tmp_path / "source", base, headless)
    opened = from_pretrained(source)
    assert opened.family.sizes.decoder.tie_embeddings
    architecture.carry(source, tmp_path / "workdir")
    assert not list((tmp_path / "workdir").glob("*.safetensors"))
    assert open_family(tmp_path / "workdir") == opened.family
    said = json.loads((tmp_path / "workdir" / "config.json").read_text())
    assert said.pop("tie_word_embeddings") is True and said.get("text_config", said).pop("tie_word_embeddings", True)
    kept = json.loads(json.dumps(base))
    kept.pop("tie_word_embeddings", None), kept.get("text_config", {}).pop("tie_word_embeddings", None)
    assert said == kept, "nothing else is changed"
    for like in ("source", "workdir"):
        save_pretrained(tmp_path / f"from {like}", *opened, like=tmp_path / like)
        assert json.loads((tmp_path / f"from {like}" / "config.json").read_text())["tie_word_embeddings"] is True
        assert_equal(from_pretrained(tmp_path / f"from {like}").params, opened.params)


def test_what_is_carried_is_what_a_model_needs_besides_its_weights(tmp_path, folder):
    source = tmp_path / "source"
    shutil.copytree(folder, source)
    extra = [
        "chat_template.jinja",
        "tokenizer.model",
        "merges.txt",
        "pytorch_model.bin.index.json",
        "pytorch_model.bin",
    ]
    for name in [*extra, "README.md"]:
        (source / name).write_text("{}")
    architecture.carry(source, tmp_path / "target")
    carried = {path.name for path in (tmp_path / "target").iterdir()}
    assert carried == {"config.json", "tokenizer.json", "chat_template.jinja", "tokenizer.model", "merges.txt"}
    assert json.loads((tmp_path / "target" / "config.json").read_text()) == QWEN2, "nothing that it need not say"


def test_names_of_the_first_release_and_those_of_today_are_both_read(tmp_path):
    published = drawn(tmp_path / "config", LLAVA)
    old, new = "vision_tower.vision_model.", "vision_tower."
    assert any(name.startswith(old) for name in published)
    today = {name.replace(old, new): x for name, x in published.items()}
    a, b = (from_pretrained(write(tmp_path / n, LLAVA, x)).params for n, x in (("old", published), ("new", today)))
    assert_equal(a, b)


def test_names_of_modules_as_trainers_store_them_are_read(tmp_path):
    """Of a LLaVA that was saved by its state_dict, without transformers' own saving."""
    published = drawn(tmp_path / "config", LLAVA)
    starts = {
        "language_model.model.": "model.language_model.",
        "language_model.lm_head": "lm_head",
        "vision_tower.vision_model.": "model.vision_tower.",
        "multi_modal_projector.": "model.multi_modal_projector.",
    }
    stored = {}
    for name, x in published.items():
        (start,) = [s for s in starts if name.startswith(s)]
        stored[starts[start] + name.removeprefix(start)] = x
    a, b = (from_pretrained(write(tmp_path / n, LLAVA, x)).params for n, x in (("hub", published), ("own", stored)))
    assert_equal(a, b)


@pytest.mark.parametrize(
    "sizes", [dict(data=2, fsdp=2, tensor=2), dict(data=1, fsdp=8, tensor=1), dict(data=1, fsdp=4, tensor=2)], ids=str
)
def test_a_mesh_gets_the_same_values_each_device_its_part_and_no_part_is_read_twice(
    folder, opened, monkeypatch, sizes
):
    read, original = {}, Stored.read

    def count(self, name, *index):
        array = original(self, name, *index)
        read.setdefault(name, []).append(array.nbytes)
        return array

    monkeypatch.setattr(Stored, "read", count)
    mesh = sharding.make_mesh(**sizes)
    params = from_pretrained(folder, mesh).params
    assert_equal(params, opened.params)
    kernel = params["decoder"]["layers"]["attention"]["query"]["kernel"]
    fsdp, tensor = sizes["fsdp"], sizes["tensor"]
    assert kernel.sharding.mesh == mesh and kernel.shape == (2, 32, 4, 8)
    assert {s.data.shape for s in kernel.addressable_shards} == {(2, 32 // fsdp, 4 // tensor, 8)}
    embedding = params["decoder"]["embed"]["embedding"]
    assert {s.data.shape for s in embedding.addressable_shards} == {(48 // tensor, 32 // fsdp)}
    parts, stored = fsdp * tensor, Stored(folder)
    for name in ("q_proj", "k_proj", "o_proj"):
        assert (
            read[f"model.layers.1.self_attn.{name}.weight"] == [4 * 32 * 32 // (1 + (name[0] == "k")) // parts] * parts
        )
    for name in (EMBED, HEAD):
        assert read[name] == [4 * 48 * 32 // parts] * parts
    assert {name: sum(sizes) for name, sizes in read.items()} == {
        name: 4 * int(np.prod(stored.shape(name))) for name in stored.names
    }


def test_parameters_lie_where_each_is_told_to(folder, opened):
    shapes = mllm.param_shapes(opened.family.sizes)
    specs = sharding.match(shapes, mllm.rules(opened.family.sizes))
    where = sharding.shardings(sharding.make_mesh(data=2, fsdp=2, tensor=2), specs)
    params = from_pretrained(folder, where, family=opened.family).params
    assert jax.tree.map(lambda x: x.sharding, params) == where
    assert_equal(params, opened.params)


def test_parameters_are_cast_as_they_are_read(folder, opened):
    cast = from_pretrained(folder, dtype="bfloat16").params
    assert_equal(cast, jax.tree.map(lambda x: np.asarray(x).astype(jnp.bfloat16), opened.params))


def test_bfloat16_stays_as_it_is_byte_for_byte(tmp_path):
    before = drawn(tmp_path / "config", QWEN2, "bfloat16")
    source = write(tmp_path / "source", QWEN2, before)
    opened = from_pretrained(source, sharding.make_mesh(data=2, fsdp=2, tensor=2))
    assert {x.dtype for x in jax.tree.leaves(opened.params)} == {jnp.dtype("bfloat16")}
    save_pretrained(tmp_path / "out", *opened, like=source)
    after = Stored(tmp_path / "out")
    assert after.names == before.keys()
    for name, x in before.items():
        assert after.read(name).tobytes() == x.tobytes() and after.dtype(name) == "bfloat16"
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "bfloat16"


def test_many_files_are_written_with_an_index_and_read_again(tmp_path, folder, opened, tensors):
    save_pretrained(tmp_path / "out", *opened, like=folder, max_shard_bytes=10_000)
    index = json.loads((tmp_path / "out" / INDEX).read_text())
    files = set(index["weight_map"].values())
    assert len(files) > 3 and files == {path.name for path in (tmp_path / "out").glob("*.safetensors")}
    assert index["metadata"]["total_size"] == sum(x.nbytes for x in tensors.values())
    assert index["weight_map"].keys() == tensors.keys()
    assert (tmp_path / "out" / "tokenizer.json").exists()
    assert_equal(from_pretrained(tmp_path / "out").params, opened.params)


def test_tensors_are_cast_as_they_are_written(tmp_path, folder, opened, tensors):
    save_pretrained(tmp_path / "out", *opened, like=folder, dtype="float16")
    stored = Stored(tmp_path / "out")
    assert {stored.dtype(name) for name in stored.names} == {"float16"}
    np.testing.assert_array_equal(stored.read(QUERY), tensors[QUERY].astype(np.float16))
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "float16"


def test_an_existing_folder_is_not_written_into(tmp_path, folder, opened):
    (tmp_path / "out").mkdir()
    with pytest.raises(CheckpointError, match="out exists"):
        save_pretrained(tmp_path / "out", *opened, like=folder)
    assert list((tmp_path / "out").iterdir()) == []
    with pytest.raises(CheckpointError, match="has no config.json"):
        save_pretrained(tmp_path / "new", *opened, like=tmp_path)


def test_a_save_that_fails_leaves_no_folder(tmp_path, folder, opened, monkeypatch):
    original = pretrained.tensors

    def full(*args):
        yield next(original(*args))
        raise OSError("no space left on device")

    monkeypatch.setattr(pretrained, "tensors", full)
    with pytest.raises(OSError, match="no space left"):
        save_pretrained(tmp_path / "out", *opened, like=folder, max_shard_bytes=1)
    assert list(tmp_path.iterdir()) == []
