import collections

import pytest

from align_jax.evals import pope


@pytest.mark.parametrize(
    "answer, read",
    [
        ("No, there is none.", "no"),
        ("There is not a cat", "no"),
        ("no", "no"),
        ("Yes. There is no dog.", "yes"),  # only the first sentence is read
        ("NO", "yes"),
        ("No\n", "yes"),
        ("", "yes"),
        ("I cannot say", "yes"),
        ("nothing", "yes"),
    ],
)
def test_answers_are_read_as_officially(answer, read):
    assert pope.parse(answer) == read


def test_scores_take_yes_as_positive():
    #         TP     TP     FP     TN    FN     TN
    answers = ["yes", "Yes", "yes", "no", "No", "no"]
    labels = ["yes", "yes", "no", "no", "yes", "no"]
    result = pope.score(answers, labels)
    assert result.accuracy == pytest.approx(4 / 6)
    assert result.precision == pytest.approx(2 / 3)
    assert result.recall == pytest.approx(2 / 3)
    assert result.f1 == pytest.approx(2 / 3)
    assert result.yes_ratio == pytest.approx(3 / 6)


def test_the_yes_ratio_is_of_answers_not_of_labels():
    assert pope.score(["yes", "yes", "yes", "no"], ["yes", "no", "no", "no"]).yes_ratio == 0.75


def test_a_model_that_never_says_yes_scores_zero_and_does_not_crash():
    assert pope.score(["no", "no"], ["yes", "no"]) == pope.Pope(0.5, 0.0, 0.0, 0.0, 0.0)
    assert pope.score(["yes"], ["no"]) == pope.Pope(0.0, 0.0, 0.0, 0.0, 1.0)


# Frequencies: cup 4, fork 3, dog 3, apple 2, sofa 1, elm 1. With dog: cup 2, fork 2, sofa 1, elm 1 (apple never).
STATISTICS = [
    ["cup", "fork", "apple"],
    ["cup", "fork", "dog"],
    ["cup", "dog", "sofa"],
    ["fork", "dog", "elm"],
    ["cup", "apple"],
]
IMAGES = {"one.png": ["dog", "cup", "apple"], "two.png": ["dog", "cup"]}


def texts(strategy, label, **how):
    built = pope.build_questions(IMAGES, strategy, statistics_from=STATISTICS, **how)
    return [q.text for q in built if q.label == label]


def test_popular_negatives_are_the_most_frequent_absent_objects():
    assert texts("popular", "no") == [f"Is there {x} in the image?" for x in ("a fork", "a sofa", "an elm")]


def test_adversarial_negatives_come_with_the_positive_just_asked_for():
    # With dog: fork (2) before sofa and elm. With cup: fork, but it is used, then sofa (1). With apple: cup and fork,
    # but they are present or used, so that a random one is taken, and only elm is left.
    assert texts("adversarial", "no") == [f"Is there {x} in the image?" for x in ("a fork", "a sofa", "an elm")]


def test_adversarial_follows_company_where_popular_follows_numbers():
    alone = {"x": ["elm"]}  # elm was met with fork and dog only; cup is the most frequent
    for strategy, expected in (("popular", "a cup"), ("adversarial", "a fork")):
        negative = pope.build_questions(alone, strategy, statistics_from=STATISTICS, positives=1)[1]
        assert negative.text == f"Is there {expected} in the image?"


def test_the_article_fits_and_the_rest_of_the_template_stays():
    assert texts("popular", "yes") == [f"Is there {x} in the image?" for x in ("a dog", "a cup", "an apple")]
    assert texts("popular", "yes", template="any {object}, {a} {object}?")[2] == "any apple, an apple?"


def test_questions_alternate_and_small_images_are_left_out():
    built = pope.build_questions(IMAGES, "popular", statistics_from=STATISTICS)
    assert [q.label for q in built] == ["yes", "no"] * 3
    assert {q.image for q in built} == {"one.png"}
    assert [q.question_id for q in built] == [1, 2, 3, 4, 5, 6]


def test_random_negatives_are_absent_unused_and_fixed_by_the_seed():
    objects = {str(i): ["dog", "cup", "apple"] for i in range(60)}
    built = pope.build_questions(objects, "random", seed=1, statistics_from=STATISTICS)
    assert built == pope.build_questions(objects, "random", seed=1, statistics_from=STATISTICS)
    assert built != pope.build_questions(objects, "random", seed=2, statistics_from=STATISTICS)
    negatives = collections.defaultdict(list)
    for q in built:
        if q.label == "no":
            negatives[q.image].append(q.text.split()[3])
    assert all(sorted(found) == ["elm", "fork", "sofa"] for found in negatives.values())
    assert {found[0] for found in negatives.values()} == {"elm", "fork", "sofa"}


def test_statistics_are_of_the_images_themselves_by_default():
    objects = {"x": ["a", "b", "c"], "y": ["d", "e", "f"]}
    built = pope.build_questions(objects, "popular")
    assert [q.text.split()[3] for q in built if q.image == "x" and q.label == "no"] == ["d", "e", "f"]


def test_a_used_up_vocabulary_is_an_error():
    with pytest.raises(ValueError, match="vocabulary is too small"):
        pope.build_questions({"x": ["a", "b", "c"]}, "random")
    with pytest.raises(ValueError, match="random, popular, adversarial"):
        pope.build_questions({}, "worst")


def test_files_keep_questions(tmp_path):
    built = pope.build_questions(IMAGES, "popular", statistics_from=STATISTICS)
    pope.write(tmp_path / "q.json", built)
    assert pope.read(tmp_path / "q.json") == built
    first = (tmp_path / "q.json").read_text().splitlines()[0]
    assert first == '{"question_id": 1, "image": "one.png", "text": "Is there a dog in the image?", "label": "yes"}'


def test_a_broken_line_is_named(tmp_path):
    (tmp_path / "q.json").write_text('{"question_id": 1, "image": "i", "text": "t", "label": "yes"}\n{"image": 1}\n')
    with pytest.raises(ValueError, match="q.json:2"):
        pope.read(tmp_path / "q.json")
