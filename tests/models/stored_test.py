import json
import struct

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from align_jax.models.stored import INDEX, SINGLE, CheckpointError, Stored, has_weights, whole, write_shards


def drawn(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    kinds = {"a.weight": (6, 4), "b.weight": (5, 3, 2), "c.bias": (7,)}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in kinds.items()}


@pytest.fixture
def sharded(tmp_path):
    """A folder of three files of one tensor each, with their index."""
    write_shards(tmp_path, iter(drawn().items()), max_bytes=1)
    return tmp_path


def files(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("kind", ["float64", "float32", "float16", "bfloat16"])
def test_values_of_every_type_come_back_byte_for_byte_whole_and_in_blocks(tmp_path, kind):
    tensors = {name: x.astype(jnp.dtype(kind)) for name, x in drawn().items()}
    write_shards(tmp_path, iter(tensors.items()), max_bytes=10**6)
    assert files(tmp_path) == [SINGLE]
    stored = Stored(tmp_path)
    assert stored.names == tensors.keys()
    for name, x in tensors.items():
        assert (stored.shape(name), stored.dtype(name), stored.read(name).dtype) == (x.shape, kind, x.dtype)
        assert stored.read(name).tobytes() == x.tobytes()
        block = (slice(1, 4), slice(1, 3), slice(0, 1))[: x.ndim]
        assert stored.read(name, *block).tobytes() == x[block].tobytes()


def test_what_is_too_large_for_one_file_goes_into_several_with_an_index(sharded):
    names = [f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)]
    assert files(sharded) == [*names, INDEX]
    index = json.loads((sharded / INDEX).read_text())
    assert index["weight_map"] == dict(zip(drawn(), names, strict=True))
    assert index["metadata"]["total_size"] == 4 * (6 * 4 + 5 * 3 * 2 + 7)
    for name, x in drawn().items():
        np.testing.assert_array_equal(Stored(sharded).read(name), x)


def test_files_hold_as_many_tensors_as_fit(tmp_path):
    write_shards(tmp_path, iter(drawn().items()), max_bytes=4 * (6 * 4 + 5 * 3 * 2))
    assert len(set(json.loads((tmp_path / INDEX).read_text())["weight_map"].values())) == 2


@pytest.mark.parametrize("keep", [0, 4, 200, -1])
def test_a_file_that_was_cut_off_is_named_with_what_to_do(sharded, keep):
    path = sharded / "model-00002-of-00003.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(
        CheckpointError, match=r"model-00002-of-00003.*damaged or cut off.*\d bytes.*download it again"
    ):
        Stored(sharded)


def test_a_file_that_is_something_else_is_named(tmp_path):
    (tmp_path / SINGLE).write_bytes(struct.pack("<Q", 30) + b"<html>not found, sorry!</html>")
    with pytest.raises(CheckpointError, match="model.safetensors is damaged or cut off"):
        Stored(tmp_path)


def test_what_a_clone_without_git_lfs_leaves_is_called_so(tmp_path):
    (tmp_path / SINGLE).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 4988025760\n")
    with pytest.raises(CheckpointError, match="model.safetensors is a Git LFS pointer.*git lfs pull"):
        Stored(tmp_path)


def test_a_file_that_the_index_names_and_that_is_missing_is_named(sharded):
    (sharded / "model-00003-of-00003.safetensors").unlink()
    with pytest.raises(CheckpointError, match="model-00003-of-00003.safetensors is missing.*download"):
        Stored(sharded)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"weight_map": 3}', '{"weight_map": ["a"]}', '"weight_map"', ""])
def test_a_damaged_index_is_named(sharded, text):
    (sharded / INDEX).write_text(text)
    with pytest.raises(CheckpointError, match=f"{INDEX} is damaged.*download it again"):
        Stored(sharded)


def test_tensors_that_the_index_names_and_its_files_lack_are_all_named(sharded):
    index = json.loads((sharded / INDEX).read_text())
    index["weight_map"] |= {name: "model-00001-of-00003.safetensors" for name in ("b.weight", "d.weight")}
    (sharded / INDEX).write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="b.weight of model-00001.*d.weight of model-00001") as raised:
        Stored(sharded)
    assert "a.weight" not in str(raised.value)


def test_files_of_any_name_are_read_where_there_is_no_index_but_no_adapter(tmp_path):
    save_file({"a": np.ones(2, np.float32)}, tmp_path / "weights.safetensors")
    save_file({"b": np.ones(2, np.float32)}, tmp_path / "adapter_model.safetensors")
    assert Stored(tmp_path).names == {"a"}
    save_file({"a": np.ones(2, np.float32)}, tmp_path / "weights.fp16.safetensors")
    with pytest.raises(CheckpointError, match="twice.*a in weights.fp16.safetensors and weights.safetensors"):
        Stored(tmp_path)


def test_folders_without_weights_are_told_apart(tmp_path):
    with pytest.raises(CheckpointError, match="there is no folder .*nowhere"):
        Stored(tmp_path / "nowhere")
    save_file({"b": np.ones(2, np.float32)}, tmp_path / "adapter_model.safetensors")
    assert not has_weights(tmp_path)
    with pytest.raises(CheckpointError, match="no .*safetensors of a model"):
        Stored(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    assert not has_weights(tmp_path)
    with pytest.raises(CheckpointError, match=r"\*\.bin files only.*convert it once.*save_pretrained"):
        Stored(tmp_path)
    (tmp_path / INDEX).write_text("{}")
    assert has_weights(tmp_path)


@pytest.mark.parametrize("kind", ["int8", "uint8", "int64", "bool", "float8_e4m3fn"])
def test_quantised_and_whole_numbers_are_refused_when_they_are_asked_for(tmp_path, kind):
    save_file({"q": np.ones((2, 2)).astype(jnp.dtype(kind)), "a": np.ones(2, np.float32)}, tmp_path / SINGLE)
    stored = Stored(tmp_path)
    np.testing.assert_array_equal(stored.read("a"), np.ones(2, np.float32))
    for ask in (stored.dtype, stored.read):
        with pytest.raises(
            CheckpointError, match=f"model.safetensors: q is of type {stored.kind('q')}.*not quantised"
        ):
            ask("q")


def test_a_folder_gets_its_name_when_all_is_written(tmp_path):
    with whole(tmp_path / "out") as partial:
        (partial / "a").write_text("a")
        assert not (tmp_path / "out").exists()
    assert files(tmp_path) == ["out"] and files(tmp_path / "out") == ["a"]
    with pytest.raises(CheckpointError, match="out exists"), whole(tmp_path / "out"):
        pytest.fail("nothing should be written")


@pytest.mark.parametrize("failure", [OSError("no space left on device"), KeyboardInterrupt()])
def test_a_folder_whose_writing_fails_leaves_nothing(tmp_path, failure):
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial" / "of a run that was killed").write_text("a")
    with pytest.raises(type(failure)), whole(tmp_path / "out") as partial:
        assert files(partial) == []
        (partial / "a").write_text("a")
        raise failure
    assert files(tmp_path) == []
