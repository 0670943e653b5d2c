import pytest

from align_jax.evals.short_answers import accuracy, correct


def test_case_space_and_a_final_stop_do_not_matter_but_words_do():
    assert correct(["Yes.", " teal ", "no no", "circle"], ["yes", "teal", "no", "a circle"]).tolist() == [
        True,
        True,
        False,
        False,
    ]


def test_groups_are_reported_apart():
    # A rule that never looks: "no" to affirmative and "yes" to negated questions.
    answers = ["no", "no", "no", "yes", "yes"]
    truth = ["no", "no", "yes", "yes", "no"]
    groups = ["affirmative"] * 3 + ["negated"] * 2
    assert accuracy(answers, truth, groups) == pytest.approx(
        {"overall": 3 / 5, "affirmative": 2 / 3, "negated": 1 / 2}
    )


def test_lengths_must_agree():
    with pytest.raises(ValueError):
        accuracy(["a"], ["a", "b"])
    with pytest.raises(ValueError, match="1 answers, but 2 groups"):
        accuracy(["a"], ["a"], ["g", "h"])
    with pytest.raises(ValueError, match="no answers"):
        accuracy([], [])
