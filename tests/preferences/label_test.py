import pytest

from align_jax.preferences.label import Label, label

TRUTH = ["red circle", "blue triangle"]


def test_a_right_answer_is_perfect_in_any_order():
    assert label(["blue triangle", "red circle"], TRUTH) == Label(0, 2, 1.0, 1.0)


def test_absent_and_malformed_mentions_are_hallucinated():
    # One hit of 3 mentions and of 2 objects: F1 = 2 * 1 / (3 + 2).
    got = label(["red circle", "green circle", None], TRUTH)
    assert got == Label(2, 3, 0.5, pytest.approx(2 / 5))
    assert got.hallucination_rate == pytest.approx(2 / 3)


def test_a_repeat_is_no_hallucination_but_lowers_f1():
    # One hit of 2 mentions and of 2 objects.
    assert label(["red circle", "red circle"], TRUTH) == Label(0, 2, 0.5, 0.5)


def test_an_object_that_is_there_twice_must_be_said_twice():
    assert label(["red circle"], ["red circle", "red circle"]).f1 == pytest.approx(2 / 3)


def test_saying_nothing_has_no_hallucination_and_no_merit():
    assert label([], TRUTH) == Label(0, 0, 0.0, 0.0)
    assert label([], TRUTH).hallucination_rate == 0.0


def test_without_truth_there_is_nothing_to_score():
    with pytest.raises(ValueError, match="no object"):
        label(["red circle"], [])
