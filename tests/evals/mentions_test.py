import pytest

from align_jax.evals.mentions import Mention, mentions

OBJECTS = ("red circle", "blue triangle", "orange circle")


def named(caption):
    return [m.object for m in mentions(caption, OBJECTS)]


def test_mentions_carry_the_span_of_their_text():
    caption = "a red circle, a blue triangle"
    assert mentions(caption, OBJECTS) == [Mention(0, 12, "red circle"), Mention(14, 29, "blue triangle")]
    assert caption[14:29] == "a blue triangle"


def test_white_space_and_case_do_not_matter():
    assert mentions("  A  red circle ,an orange circle", OBJECTS) == [
        Mention(2, 15, "red circle"),
        Mention(17, 33, "orange circle"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "a circle",  # no colour
        "a red",  # no shape
        "red circle",  # no article
        "a green circle",  # not an object of this world
        "a red red circle",
        "a red circle circle",
        "a red circle a blue triangle",  # no separator
        "a a red circle",
        "yes",
    ],
)
def test_what_names_no_object_is_malformed_and_not_skipped(text):
    assert named(f"a red circle, {text}, a blue triangle") == ["red circle", None, "blue triangle"]


def test_emptiness_beside_a_separator_is_malformed():
    assert named("a red circle,") == ["red circle", None]
    assert named("a red circle, , a blue triangle") == ["red circle", None, "blue triangle"]
    assert named(",") == [None, None]


def test_repeats_are_kept_and_a_blank_caption_mentions_nothing():
    assert named("a red circle, a red circle") == ["red circle", "red circle"]
    assert named(" ") == []
