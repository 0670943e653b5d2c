import collections

import easy_vqa as wheel
import numpy as np
import pytest

from align_jax.data import easy_vqa

# The colours as the pictures are painted, from the drawing code's names; not read anywhere in align_jax.
PALETTE = np.array(
    [(0, 0, 0), (128, 128, 128), (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 128, 128), (165, 42, 42)]
)


@pytest.mark.parametrize(
    "split, pictures, of, fewest, questions", [("train", 3542, 4000, 116, 35240), ("test", 880, 1000, 22, 8803)]
)
def test_pictures_with_a_stated_shape_and_colour_are_kept(split, pictures, of, fewest, questions):
    data = easy_vqa.load(split)
    assert data.pixels.shape == (pictures, 64, 64, 3) and data.pixels.dtype == np.uint8
    assert data.image_ids.max() < of and (np.diff(data.image_ids) > 0).all()
    assert np.bincount(data.labels, minlength=24).min() == fewest
    assert len(data.questions) == questions


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_recovered_colour_is_the_painted_one(split):
    data = easy_vqa.load(split)
    flat = data.pixels.reshape(len(data.labels), -1, 3).astype(int)
    # Backgrounds have every channel at 230 or more: the pixel with the lowest channel is paint, free of anti-aliasing.
    paint = flat[np.arange(len(flat)), flat.min(-1).argmin(-1)]
    nearest = np.abs(paint[:, None] - PALETTE).sum(-1).argmin(-1)
    np.testing.assert_array_equal(nearest, data.labels // 3)


def test_the_recovered_shape_fills_its_box_as_such_a_shape_does():
    data = easy_vqa.load("test")
    shares = collections.defaultdict(list)
    for pixels, label in zip(data.pixels, data.labels, strict=True):
        inside = pixels.min(-1) < 200
        rows, columns = inside.any(1).sum(), inside.any(0).sum()
        shares[label % 3].append(inside.sum() / (rows * columns))
    medians = [np.median(shares[shape]) for shape in range(3)]
    np.testing.assert_allclose(medians, [np.pi / 4, 1.0, 0.5], atol=0.07)


def test_polarity_parts_presence_from_absence():
    assert easy_vqa.polarity("what color is the shape?") == "open"
    assert easy_vqa.polarity("is there a red shape?") == "affirmative"
    assert easy_vqa.polarity("Is no red shape present?") == "negated"
    assert easy_vqa.polarity("does the image not contain a circle?") == "negated"


def test_a_rule_that_never_looks_answers_82_percent_of_yes_no_questions():
    texts, answers, _ = wheel.get_train_questions()
    guess = {"affirmative": "no", "negated": "yes"}
    asked = [(easy_vqa.polarity(t), a) for t, a in zip(texts, answers, strict=True)]
    closed = [(p, a) for p, a in asked if p != "open"]
    assert {a for p, a in asked if p == "open"} == {*easy_vqa.COLORS, *easy_vqa.SHAPES}
    assert {a for _, a in closed} == {"yes", "no"}
    assert np.mean([guess[p] == a for p, a in closed]) == pytest.approx(0.82, abs=0.005)


@pytest.mark.parametrize(
    "question, answer, expected",
    [
        ("is there a red shape?", "yes", {"red"}),
        ("is there a red shape?", "no", set()),
        ("is no red shape present?", "no", {"red"}),
        ("is no red shape present?", "yes", set()),
        ("what is the blue shape?", "circle", {"blue"}),
        ("what color is the circle?", "teal", {"teal"}),
    ],
)
def test_only_what_is_said_to_be_there_counts_as_stated(question, answer, expected):
    assert easy_vqa.stated(question, answer, easy_vqa.COLORS) == expected


def test_contradicting_answers_are_refused(monkeypatch):
    rows = (["is there a red shape?", "is there no blue shape?"], ["yes", "no"], [0, 0])
    monkeypatch.setattr(wheel, "get_train_questions", lambda: rows)
    with pytest.raises(ValueError, match=r"contradict each other about train pictures \[0\]"):
        easy_vqa.load.__wrapped__("train")
