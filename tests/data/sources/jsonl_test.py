import json
import pickle

import pytest

from align_jax.data import sources
from align_jax.data.records import RecordError


def test_lines_are_read_in_any_order_and_blank_ones_skipped(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "erste äöü"}\n\n   \n{"prompt": "zweite", "image": "a/x.png"}\r\n{"prompt": "dritte"}')
    source = sources.build("jsonl", path=str(path))
    assert [source[i].prompt for i in (2, 0, 1)] == ["dritte", "erste äöü", "zweite"]
    assert len(source) == 3
    assert source[1].images == (str(tmp_path / "a/x.png"),)
    assert [source[i].id for i in range(3)] == ["1", "4", "5"]


def test_images_are_relative_to_the_root_if_given(write_rows, tmp_path):
    source = sources.build("jsonl", path=write_rows([{"prompt": "x", "image": "0.png"}]), root=str(tmp_path / "other"))
    assert source[0].images == (str(tmp_path / "other/0.png"),)


def test_a_broken_line_names_file_and_line_and_leaves_the_others_alone(write_rows):
    path = write_rows(
        [{"prompt": "x"}, '{"prompt": "x"', '{"prompt": "\udcff"}'.encode("utf-8", "replace").decode(), "7"]
    )
    source = sources.build("jsonl", path=path)
    assert source[0].prompt == "x"
    with pytest.raises(RecordError, match="rows.jsonl:2: not JSON"):
        source[1]
    with pytest.raises(RecordError, match="rows.jsonl:4: the row is a number"):
        source[3]


def test_wrong_encoding_and_absurd_nesting_break_one_row_only(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"prompt": "x"}\n{"prompt": "caf\xe9"}\n' + b'{"a":' * 100_000 + b"\n")
    source = sources.build("jsonl", path=str(path))
    for i in (1, 2):
        with pytest.raises(RecordError, match=f"rows.jsonl:{i + 1}: not JSON"):
            source[i]


def test_byte_order_mark_is_ignored(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"prompt": "x"}\n', encoding="utf-8-sig")
    assert sources.build("jsonl", path=str(tmp_path / "rows.jsonl"))[0].prompt == "x"


def test_source_survives_pickling(write_rows):
    source = pickle.loads(pickle.dumps(sources.build("jsonl", path=write_rows([{"prompt": "x"}, {"prompt": "y"}]))))
    assert source[1].prompt == "y"


def test_missing_file_folder_and_empty_file_say_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file .*lost.jsonl: check `path`"):
        sources.build("jsonl", path=str(tmp_path / "lost.jsonl"))
    with pytest.raises(ValueError, match="is a folder"):
        sources.build("jsonl", path=str(tmp_path))
    (tmp_path / "empty.jsonl").write_text("\n \n")
    with pytest.raises(ValueError, match="holds no records"):
        sources.build("jsonl", path=str(tmp_path / "empty.jsonl"))


def test_files_of_another_kind_are_named(tmp_path):
    (tmp_path / "array.json").write_text(json.dumps([{"prompt": "x"}], indent=1))
    with pytest.raises(ValueError, match="JSON array.*jq"):
        sources.build("jsonl", path=str(tmp_path / "array.json"))
    (tmp_path / "rows.jsonl.gz").write_bytes(b"\x1f\x8b\x08\x00rest")
    with pytest.raises(ValueError, match="gunzip"):
        sources.build("jsonl", path=str(tmp_path / "rows.jsonl.gz"))
