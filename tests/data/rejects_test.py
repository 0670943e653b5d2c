import json
import multiprocessing
import pickle

import pytest

from align_jax.data.rejects import Rejects, TooManyRejects


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_culprit_is_written_and_counted_once(tmp_path):
    rejects = Rejects(tmp_path / "run" / "rejects.jsonl", limit=5)
    for where in ("a:1", "a:2", "a:1"):
        rejects.add(where, "vidé")
    assert rejects.count == 2
    assert lines(rejects.path) == [{"where": "a:1", "reason": "vidé"}, {"where": "a:2", "reason": "vidé"}]


def test_the_limit_itself_is_allowed_and_one_more_is_not(tmp_path):
    rejects = Rejects(tmp_path / "rejects.jsonl", limit=1)
    rejects.add("a:1", "first reason")
    with pytest.raises(TooManyRejects) as error:
        rejects.add("a:2", "second reason")
    for part in ("2 broken", "the 1 that", str(rejects.path), "a:1: first reason", "data.max_reject_fraction"):
        assert part in str(error.value)


def test_a_resumed_run_counts_anew_and_repeats_no_line(tmp_path):
    for _ in range(2):
        rejects = Rejects(tmp_path / "rejects.jsonl", limit=5)
        rejects.add("a:1", "empty")
        assert rejects.count == 1
    assert len(lines(rejects.path)) == 1


def test_summary_shows_the_first_few(tmp_path):
    rejects = Rejects(tmp_path / "rejects.jsonl", limit=9)
    assert rejects.summary() == "No broken records."
    for i in range(5):
        rejects.add(f"a:{i}", "empty")
    assert "a:2: empty" in rejects.summary() and "a:3" not in rejects.summary() and "2 more" in rejects.summary()


def add_many(rejects, name):
    for i in range(200):
        rejects.add(f"{name}:{i}", "x" * 300)


def test_processes_can_share_the_file(tmp_path):
    rejects = pickle.loads(pickle.dumps(Rejects(tmp_path / "rejects.jsonl", limit=200)))
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=add_many, args=(rejects, name)) for name in "ab"]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert sorted(line["where"] for line in lines(rejects.path)) == sorted(
        f"{n}:{i}" for n in "ab" for i in range(200)
    )
