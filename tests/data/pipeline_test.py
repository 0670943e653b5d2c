import json
import time

import jax
import numpy as np
import pytest

from align_jax.data import sources
from align_jax.data.examples import Encode
from align_jax.data.inputs import TileInputs
from align_jax.data.media import ImageProcessor
from align_jax.data.pack import TreePacker
from align_jax.data.pipeline import batches, in_order
from align_jax.data.rejects import Rejects, TooManyRejects
from align_jax.types import PreferenceBatch


@pytest.fixture
def make(template, tmp_path):
    """Iterator over batches of a file, and its rejects."""
    iterators = []

    def build(path, *, size=4, limit=10, seed=0, tile=4, **options):
        inputs = TileInputs(template, ImageProcessor(tile))
        encode = Encode(inputs, 32, 8, reads=PreferenceBatch.reads)
        packer = TreePacker(size, 32, 8, template.pad_id, inputs.empty, items=1)
        rejects = Rejects(tmp_path / "rejects.jsonl", limit)
        source = sources.build("jsonl", path=path)
        dataset = batches(
            source, encode, PreferenceBatch, packer, rejects=rejects, batch_size=size, seed=seed, **options
        )
        iterators.append(iter(dataset))
        return iterators[-1], rejects

    yield build
    for iterator in iterators:
        iterator.close()


@pytest.fixture
def rows(template):
    """Row numbers in a list of batches: the answers of the fixture `pairs` are "a 0", "a 1", ..."""

    def read(some):
        real = [
            target
            for batch in some
            for target, weight in zip(batch.tree.targets[:, 0], batch.weight, strict=True)
            if weight
        ]
        return [int(template.decode(target).removeprefix("a ")) for target in real]

    return read


def equal(left, right):
    return all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True))


def test_each_epoch_has_every_row_once_in_its_own_order(make, pairs, rows):
    order = rows(make(pairs(12), epochs=2)[0])
    assert sorted(order[:12]) == sorted(order[12:]) == list(range(12))
    assert order[:12] != order[12:] and order[:12] != list(range(12))


def test_order_depends_on_the_seed_alone(make, pairs, rows):
    path = pairs(12)
    first, same, other = (rows(make(path, seed=seed, epochs=2)[0]) for seed in (0, 0, 1))
    assert first == same
    assert first != other
    assert first[12:] != other[:12]  # which is what seed + epoch would give


def test_source_order_without_shuffling(make, pairs, rows):
    assert rows(make(pairs(6), shuffle=False, epochs=2)[0]) == [*range(6), *range(6)]


def test_only_the_last_batch_is_partial(make, pairs):
    weights = [batch.weight.sum() for batch in make(pairs(5), epochs=2)[0]]
    assert weights == [4, 4, 2]


def test_endless_iteration_goes_on(make, pairs):
    iterator, _ = make(pairs(3))
    assert all(next(iterator).weight.sum() == 4 for _ in range(5))


@pytest.mark.parametrize("shuffle", [True, False])
def test_shards_cover_all_rows_once_in_equally_many_batches(make, pairs, rows, shuffle):
    path = pairs(10, broken=(2,))
    shards = [list(make(path, size=2, shuffle=shuffle, epochs=1, shard=(i, 4))[0]) for i in range(4)]
    assert sorted(sum(map(rows, shards), [])) == [0, 1, 3, 4, 5, 6, 7, 8, 9]
    assert [len(shard) for shard in shards] == [2, 2, 2, 2]  # two hosts have three rows, two have two


def test_more_hosts_than_rows_and_shards_that_do_not_exist_are_errors(make, pairs):
    with pytest.raises(ValueError, match="3 records cannot be shared among 4 hosts"):
        make(pairs(3), shard=(0, 4))
    with pytest.raises(ValueError, match="shard 2 of 2 does not exist"):
        make(pairs(3), shard=(2, 2))


def test_packer_must_agree_on_the_batch_size(pairs, tmp_path):
    packer = TreePacker(3, 32, 8, 0)
    with pytest.raises(ValueError, match="batch_size is 4, but the packer makes batches of 3"):
        batches([0], None, PreferenceBatch, packer, rejects=Rejects(tmp_path / "r", 0), batch_size=4, seed=0)


@pytest.mark.parametrize("prefetch", [0, 2])
def test_resuming_is_exact_without_workers(make, pairs, prefetch):
    path = pairs(11, broken=(4,))
    iterator, _ = make(path, prefetch=prefetch)
    states, expected = [], []
    for _ in range(8):
        states.append(json.loads(json.dumps(iterator.get_state())))
        expected.append(next(iterator))
    for step in (0, 3, 7):
        resumed, _ = make(path, prefetch=prefetch)
        resumed.set_state(states[step])
        assert resumed.get_state() == states[step]
        assert all(equal(next(resumed), batch) for batch in expected[step:])


def test_an_iterator_can_be_set_back(make, pairs):
    iterator, _ = make(pairs(11))
    state, first = iterator.get_state(), next(iterator)
    next(iterator)
    iterator.set_state(state)
    assert equal(next(iterator), first)


def test_workers_change_nothing_and_resume_exactly(make, pairs):
    path = pairs(11, broken=(4, 5))
    threads, _ = make(path)
    expected = [next(threads) for _ in range(6)]
    workers, rejects = make(path, workers=2)
    assert all(equal(next(workers), batch) for batch in expected[:3])
    state = workers.get_state()
    resumed, _ = make(path, workers=2)
    resumed.set_state(state)
    assert all(equal(next(resumed), batch) for batch in expected[3:])
    assert rejects.count == 2
    for iterator in (workers, resumed):
        iterator.close()
    fewer, _ = make(path)
    fewer.set_state(state)
    assert all(equal(next(fewer), batch) for batch in expected[3:])


def test_an_iterator_with_workers_can_be_left_at_any_time(make, pairs):
    iterator, _ = make(pairs(8), workers=1, tile=200)  # elements that are larger than what a pipe holds
    next(iterator)
    start = time.monotonic()
    iterator.close()
    assert time.monotonic() - start < 15  # Grain kills workers that have not ended after 25 seconds


def test_broken_rows_are_skipped_and_listed_once(make, write_rows, rows, tmp_path):
    good = [{"prompt": "x", "image": "0.png", "chosen": f"a {i}", "rejected": "no"} for i in range(4)]
    (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00")
    bad = [
        "{not json",
        {"image": "0.png", "chosen": "a", "rejected": "b"},
        {"prompt": ["x"], "chosen": "a", "rejected": "b"},
        {"prompt": "x", "chosen": "", "rejected": "b"},
        {"prompt": "x", "chosen": "a"},
        {"prompt": "x", "image": "lost.png", "chosen": "a", "rejected": "b"},
        {"prompt": "x", "image": "cut.png", "chosen": "a", "rejected": "b"},
        {"prompt": "x", "image": "../x.png", "chosen": "a", "rejected": "b"},
        {"prompt": "very long " * 20, "chosen": "a", "rejected": "b"},
    ]
    iterator, rejects = make(write_rows([*good, *bad]), epochs=3)
    assert sorted(rows(iterator)) == sorted([0, 1, 2, 3] * 3)
    listed = [json.loads(line) for line in rejects.path.read_text().splitlines()]
    reasons = {int(each["where"].rpartition(":")[2]): each["reason"] for each in listed}
    words = ["not JSON", "'prompt' is missing", "'prompt' is a list", "'chosen' is empty", "'rejected' is missing"]
    words += ["there is no image", "cannot read", "leaves the data root", "`prompt_length` is 32"]
    assert sorted(reasons) == list(range(5, 14)) and rejects.count == len(listed) == 9
    assert all(word in reasons[line] for line, word in enumerate(words, 5))


@pytest.mark.parametrize("workers", [0, 2])
def test_too_many_broken_rows_end_the_iteration(make, pairs, workers):
    iterator, _ = make(pairs(8, broken=range(8)), limit=3, workers=workers)
    with pytest.raises(TooManyRejects, match=r"4 broken records are more than the 3(?s:.)*rows.jsonl:\d+: .*lost.png"):
        next(iterator)


@pytest.mark.parametrize("epochs", [None, 1])
def test_no_limit_allows_a_data_set_without_a_good_row(make, pairs, epochs):
    iterator, _ = make(pairs(6, broken=range(6)), limit=100, epochs=epochs)
    with pytest.raises(TooManyRejects, match="there is no good record"):
        next(iterator)


def test_one_good_row_is_enough(make, pairs, rows):
    iterator, _ = make(pairs(6, broken=range(1, 6)), limit=5)
    assert rows([next(iterator) for _ in range(5)]) == [0] * 20


def test_errors_in_code_are_not_taken_for_broken_rows(template, pairs, tmp_path):
    def broken(record):
        raise KeyError("a mistake in a function, not in the data")

    dataset = batches(
        sources.build("jsonl", path=pairs(3)), broken, PreferenceBatch, TreePacker(2, 8, 8, 0),
        rejects=Rejects(tmp_path / "r", 9), batch_size=2, seed=0,
    )  # fmt: skip
    with pytest.raises(KeyError, match="a mistake"):
        next(iter(dataset))


def test_evaluation_sees_records_in_order_with_their_examples(template, pairs, tmp_path):
    encode = Encode(TileInputs(template, ImageProcessor(4)), 32, 8)
    rejects = Rejects(tmp_path / "rejects.jsonl", limit=1)
    parts = list(in_order(sources.build("jsonl", path=pairs(6, broken=(1,))), encode, rejects=rejects, batch_size=2))
    assert [[record.chosen for record in records] for records, _ in parts] == [["a 0", "a 2"], ["a 3", "a 4"], ["a 5"]]
    assert [[template.decode(example.completions["chosen"]) for example in examples] for _, examples in parts] == [
        ["a 0", "a 2"], ["a 3", "a 4"], ["a 5"]
    ]  # fmt: skip
    assert rejects.count == 1
