import collections
import json
import pickle

import pytest

from align_jax.data import sources


def write(folder, name, count):
    path = folder / f"{name}.jsonl"
    rows = [{"prompt": f"{name}{i}", "chosen": "yes"} for i in range(count)]
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


@pytest.fixture
def paths(tmp_path):
    return write(tmp_path, "a", 3), write(tmp_path, "b", 4)


def mixed(paths, *repeats):
    parts = [dict(name="jsonl", path=p) | r for p, r in zip(paths, repeats, strict=True)]
    return sources.build("mixture", parts=parts)


def test_it_holds_all_records_once(paths):
    source = mixed(paths, {}, {})
    assert [source[i].prompt for i in range(len(source))] == ["a0", "a1", "a2", "b0", "b1", "b2", "b3"]
    assert source[0].id == "0/1" and source[3].id == "1/1", "rows of different files are different records"


def test_parts_come_as_often_as_asked(paths):
    source = mixed(paths, {"repeat": 2}, {"repeat": 0.5})
    counts = collections.Counter(source[i].prompt for i in range(len(source)))
    assert counts == {"a0": 2, "a1": 2, "a2": 2, "b0": 1, "b2": 1}


def test_it_pickles(paths):
    source = pickle.loads(pickle.dumps(mixed(paths, {}, {})))
    assert source[6].prompt == "b3"


@pytest.mark.parametrize(
    ("parts", "message"),
    [([], "needs `parts`"), ([{"path": "x"}], "part 0"), ([{"name": "jsonl", "path": "x", "repeat": 0}], "repeat 0")],
)
def test_what_is_no_mixture_is_refused(parts, message):
    with pytest.raises(ValueError, match=message):
        sources.build("mixture", parts=parts)
