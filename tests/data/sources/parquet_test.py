import logging
import pickle

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from align_jax.data import sources
from align_jax.data.records import RecordError
from align_jax.data.sources.parquet import ParquetRows


def write(path, rows, **options):
    pq.write_table(pa.Table.from_pylist(rows), path, **options)
    return str(path)


def numbered(start, stop):
    return [{"prompt": f"p{i}", "chosen": "yes", "score": i} for i in range(start, stop)]


def test_rows_of_all_files_and_groups_are_found(tmp_path):
    write(tmp_path / "train-0.parquet", numbered(0, 7), row_group_size=3)
    write(tmp_path / "train-1.parquet", numbered(7, 9))
    write(tmp_path / "test-0.parquet", numbered(50, 51))
    source = sources.build("parquet", path=str(tmp_path / "train-*.parquet"))
    assert len(source) == 9
    assert [source[i].prompt for i in (8, 0, 6, 3, 7)] == ["p8", "p0", "p6", "p3", "p7"]
    assert source[8].id == "8" and source[8].meta == {"score": 8}
    assert source[8].where.endswith("train-1.parquet row 1")
    assert len(sources.build("parquet", path=str(tmp_path))) == 10


@pytest.mark.parametrize("image", ["x.png", b"PNG", {"bytes": b"PNG", "path": None}, {"bytes": None, "path": "x.png"}])
def test_images_may_be_paths_bytes_or_structs(tmp_path, image):
    one = sources.build("parquet", path=write(tmp_path / "one.parquet", [{"prompt": "x", "image": image}]))
    several = sources.build(
        "parquet", path=write(tmp_path / "several.parquet", [{"prompt": "x", "images": [image] * 2}])
    )
    expected = b"PNG" if image == b"PNG" or image == {"bytes": b"PNG", "path": None} else str(tmp_path / "x.png")
    assert one[0].images == (expected,)
    assert several[0].images == (expected,) * 2


def test_broken_rows_name_file_and_row(tmp_path):
    rows = [
        {"prompt": "x", "image": "a.png"},
        {"prompt": None, "image": "a.png"},
        {"prompt": "x", "image": "../a.png"},
    ]
    source = sources.build("parquet", path=write(tmp_path / "rows.parquet", rows))
    assert source[0].prompt == "x"
    with pytest.raises(RecordError, match="rows.parquet row 1: 'prompt' is missing"):
        source[1]
    with pytest.raises(RecordError, match="rows.parquet row 2: 'image' '../a.png' leaves the data root"):
        source[2]


def test_memory_for_row_groups_is_bounded(tmp_path):
    path = write(tmp_path / "rows.parquet", numbered(0, 40), row_group_size=10)
    small, large = ParquetRows(path, cache_bytes=1), ParquetRows(path)
    for i in (0, 35, 12, 1):
        assert small[i] == large[i]
    assert (len(small._cache), len(large._cache)) == (1, 3)


def test_slow_files_are_pointed_out(tmp_path, caplog):
    path = write(tmp_path / "rows.parquet", numbered(0, 200))
    with caplog.at_level(logging.WARNING):
        ParquetRows(path)
        assert not caplog.records
        ParquetRows(path, cache_bytes=10)
    assert "row_group_size=16" in caplog.text


def test_source_survives_pickling_after_use(tmp_path):
    source = sources.build("parquet", path=write(tmp_path / "rows.parquet", numbered(0, 3)))
    assert source[1].prompt == "p1"
    assert pickle.loads(pickle.dumps(source))[1] == source[1]


def test_missing_empty_and_other_files_say_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match="no parquet file at .*check `path`"):
        sources.build("parquet", path=str(tmp_path))
    (tmp_path / "pointer.parquet").write_text("version https://git-lfs.github.com/spec/v1")
    with pytest.raises(ValueError, match="pointer.parquet cannot be read as parquet"):
        sources.build("parquet", path=str(tmp_path / "pointer.parquet"))
    with pytest.raises(ValueError, match="holds no rows"):
        empty = pa.table({"prompt": pa.array([], pa.string())})
        pq.write_table(empty, tmp_path / "empty.parquet")
        sources.build("parquet", path=str(tmp_path / "empty.parquet"))
