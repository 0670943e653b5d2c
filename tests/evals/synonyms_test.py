import pytest

from align_jax.evals.synonyms import Synonyms

# Written for this test in the format of the official file, with its traps.
LINES = """person, man, woman, child, children, people, girl, policeman, human
bicycle, bike
motorcycle,  motor bike
train, passenger train
bird, penguin
dog, puppy
sheep
chair, seat
toilet
bed
tie
wine glass
cell phone, mobile phone, iPhone
hot dog
bench
knife
scissors
skis, ski
bus
"""
SYNONYMS = Synonyms.read(LINES.splitlines(keepends=True))


def named(caption):
    return [m.object for m in SYNONYMS.mentions(caption)]


def test_synonyms_count_as_their_object_with_repeats():
    assert named("A woman and a girl with a bike.") == ["person", "person", "bicycle"]


@pytest.mark.parametrize(
    "plural, expected",
    [
        ("men", "person"), ("policemen", "person"), ("humans", "person"), ("children", "person"), ("puppies", "dog"),
        ("benches", "bench"), ("knives", "knife"), ("sheep", "sheep"), ("wine glasses", "wine glass"),
        ("hot dogs", "hot dog"), ("buses", "bus"), ("skis", "skis"), ("cell phones", "cell phone"),
    ],
)  # fmt: skip
def test_plurals_are_found(plural, expected):
    assert named(f"two {plural} there") == [expected]


def test_singulars_that_look_like_plurals_stay():
    assert named("a bus, a wine glass and scissors") == ["bus", "wine glass", "scissors"]


def test_two_words_are_one_object_only_side_by_side():
    assert named("a hot dog") == ["hot dog"]
    assert named("a hot, dog") == ["dog"]


def test_a_baby_animal_is_no_person_and_a_passenger_train_a_train():
    lines = ["person, baby, adult, passenger\n", "bird\n", "train\n"]
    reader = Synonyms.read(lines)
    assert [m.object for m in reader.mentions("a baby bird and a passenger train")] == ["bird", "train"]
    assert [m.object for m in reader.mentions("a baby and a bird")] == ["person", "bird"]


def test_a_toilet_has_no_chair_wherever_its_seat_is_mentioned():
    assert named("a toilet with a white seat") == ["toilet"]
    assert named("a toilet seat") == ["toilet"]
    assert named("a seat by the bed") == ["chair", "bed"]


def test_entries_with_stray_spaces_or_capitals_never_match():
    assert named("a motor bike and an iPhone") == []


def test_a_bow_tie_is_a_tie():
    assert named("a man in a bow tie") == ["person", "tie"]


def test_spans_mark_the_words_of_the_caption():
    caption = "Some hot dogs on a bench"
    assert [(caption[m.start : m.end], m.object) for m in SYNONYMS.mentions(caption)] == [
        ("hot dogs", "hot dog"),
        ("bench", "bench"),
    ]


def test_truth_joins_annotations_and_reference_captions():
    assert SYNONYMS.truth(["bike", "dog"], ["a man on a bench", "a person with a puppy"]) == {
        "bicycle",
        "dog",
        "person",
        "bench",
    }
