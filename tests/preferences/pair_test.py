import pytest

from align_jax.data import sources
from align_jax.data.records import Record
from align_jax.preferences.pair import Choice, all_pairs, best_vs_worst, flip
from align_jax.preferences.save import save
from align_jax.types import Span

RECORDS = [Record(str(i), "p", chosen=f"good {i}", rejected=f"bad {i}", meta={"kind": "caption"}) for i in range(10)]


def test_chosen_and_rejected_have_the_same_number_of_mentions():
    # The worst of all, d, is shorter than the best, a; of its length, c is the worst.
    assert best_vs_worst(["a", "b", "c", "d"], [0.9, 0.5, 0.4, 0.1], [3, 3, 3, 2]) == Choice(0, 2)


def test_the_best_without_a_rival_of_its_length_gives_no_pair():
    assert best_vs_worst(["a", "b", "c"], [0.9, 0.5, 0.1], [3, 2, 2]) is None


def test_ties_give_no_pair():
    assert best_vs_worst(["a", "b"], [0.5, 0.5], [2, 2]) is None
    assert best_vs_worst([], [], []) is None


def test_of_several_best_responses_the_one_with_the_worst_rival_is_chosen():
    assert best_vs_worst(["a", "b", "c", "d"], [0.9, 0.9, 0.5, 0.2], [3, 2, 3, 2]) == Choice(1, 3)


def test_the_same_text_is_no_rival_to_itself_however_it_was_scored():
    assert best_vs_worst(["a", "a", "b"], [0.9, 0.1, 0.3], [2, 2, 2]) == Choice(0, 2)
    assert all_pairs(["a", "a"], [0.9, 0.1]) == []


def test_all_pairs_are_those_at_least_a_margin_apart():
    texts, scores = ["a", "b", "c"], [1.0, 3.0, 2.0]
    assert all_pairs(texts, scores) == [Choice(1, 0), Choice(2, 0), Choice(1, 2)]
    assert all_pairs(texts, scores, margin=2.0) == [Choice(1, 0)]
    assert all_pairs(["a", "b"], [1.0, 1.0], margin=0.0) == []
    with pytest.raises(ValueError, match="negative"):
        all_pairs(texts, scores, margin=-1.0)


def test_flip_swaps_exactly_the_share_that_was_asked_for():
    for fraction, count in ((0.0, 0), (0.3, 3), (1.0, 10)):
        flipped = flip(RECORDS, fraction, seed=1)
        assert [r.id for r in flipped] == [r.id for r in RECORDS]
        swapped = [r.chosen.startswith("bad") and r.rejected.startswith("good") for r in flipped]
        assert sum(swapped) == count
        assert [r.meta["flipped"] for r in flipped] == swapped
        assert all(r.meta["kind"] == "caption" for r in flipped)


def test_the_seed_says_which_records_are_flipped():
    assert flip(RECORDS, 0.5, seed=1) == flip(RECORDS, 0.5, seed=1)
    assert flip(RECORDS, 0.5, seed=1) != flip(RECORDS, 0.5, seed=2)


def test_records_with_one_answer_cannot_be_flipped():
    with pytest.raises(ValueError, match="'x'"):
        flip([*RECORDS, Record("x", "p", chosen="a")], 0.5)
    with pytest.raises(ValueError, match="between 0 and 1"):
        flip(RECORDS, 1.5)


def test_flipping_takes_the_pictures_of_each_side_along():
    one = Record("1", "What?", ("a.png",), "good", "bad", rejected_images=("b.png",))
    (flipped,) = flip([one], 1.0)
    assert (flipped.chosen, flipped.images, flipped.rejected, flipped.rejected_images) == (
        "bad",
        ("b.png",),
        "good",
        ("a.png",),
    )


def test_flipping_takes_marked_parts_and_ranks_along(tmp_path):
    spans = {"chosen": (Span(0, 4, "accurate"),), "rejected": (Span(4, 7, "inaccurate"),)}
    answers = dict(chosen="good", rejected="not bad", ranked=("good", "not bad"), scores=(1.0, 0.0))
    one = Record("1", "What?", **answers, spans=spans)
    (flipped,) = flip([one], 1.0)
    assert flipped.spans == {"chosen": spans["rejected"], "rejected": spans["chosen"]}
    assert flipped.ranked == ("not bad", "good") and flipped.scores == (1.0, 0.0)
    save(tmp_path / "flipped.jsonl", [flipped])  # the source checks that spans lie in their texts
    assert sources.build("jsonl", path=str(tmp_path / "flipped.jsonl"))[0].spans == flipped.spans
