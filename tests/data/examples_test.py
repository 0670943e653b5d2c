import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from align_jax.data.examples import Encode
from align_jax.data.inputs import TileInputs
from align_jax.data.media import ImageProcessor, read_image
from align_jax.data.records import Record, RecordError
from align_jax.types import PreferenceBatch, Reads, Span


def png(level):
    buffer = io.BytesIO()
    Image.fromarray(np.full((6, 5, 3), level, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def noise(image, generator):
    return generator.integers(0, 256, image.shape, np.uint8)


@pytest.fixture
def encode(template):
    inputs = TileInputs(template, ImageProcessor(4, grid=2), max_images=2)
    return Encode(inputs, prompt_length=32, completion_length=8)


@pytest.fixture
def reading(template):
    """For a model that only reads."""
    return Encode(TileInputs(template, None), prompt_length=32, completion_length=8)


RECORD = Record("r1", "What is it?", (png(10), png(200)), chosen="a red circle", rejected="a blue")


def pixels(images):
    return np.concatenate([ImageProcessor(4, grid=2)(read_image(image)) for image in images])


def test_both_completions_and_all_tiles_are_encoded(encode, template):
    example = encode(RECORD)
    np.testing.assert_array_equal(example.prompt.ids, template.encode_prompt("What is it?", 2))
    np.testing.assert_array_equal(example.completions["chosen"], template.encode_completion("a red circle"))
    np.testing.assert_array_equal(example.completions["rejected"], template.encode_completion("a blue"))
    np.testing.assert_array_equal(example.prompt.media.pixels, pixels(RECORD.images))
    assert len(example.prompt.media.pixels) == 2 * 4
    assert example.views == {} and example.prompt.positions is None


def test_a_long_completion_loses_its_tail_and_its_end(encode, template):
    text = "a red circle, a blue triangle, a red circle"
    ids = template.encode_completion(text)
    cut = encode(dataclasses.replace(RECORD, chosen=text)).completions["chosen"]
    assert len(ids) > 8
    np.testing.assert_array_equal(cut, ids[:8])
    assert template.eos_id not in cut


def test_a_prompt_may_be_as_long_as_the_tree_and_no_longer(encode):
    size = len(encode(RECORD).prompt.ids) - 1
    assert len(dataclasses.replace(encode, prompt_length=size)(RECORD).prompt.ids) == size + 1
    message = f"'prompt' takes {size} tokens, those of its media included, and `prompt_length` is {size - 1}"
    with pytest.raises(RecordError, match=f"record 'r1': {message}"):
        dataclasses.replace(encode, prompt_length=size - 1)(RECORD)


def test_media_may_be_as_many_as_fit_and_no_more(encode):
    assert len(dataclasses.replace(encode, max_items=8)(RECORD).prompt.media.pixels) == 8
    with pytest.raises(RecordError, match="record 'r1': its media take 8 tiles.*at most 7 fit"):
        dataclasses.replace(encode, max_items=7)(RECORD)


def test_missing_completion_is_an_error_only_where_it_is_needed(encode):
    record = dataclasses.replace(RECORD, rejected=None, where="pairs.jsonl:3")
    assert set(encode(record).completions) == {"chosen"}
    with pytest.raises(RecordError, match="pairs.jsonl:3: 'rejected' is missing"):
        dataclasses.replace(encode, reads=PreferenceBatch.reads)(record)


def test_broken_image_names_record_and_field(encode):
    with pytest.raises(RecordError, match=r"record 'r1': 'images'\[1\]: cannot read 3 bytes"):
        encode(dataclasses.replace(RECORD, images=(png(1), b"abc")))
    with pytest.raises(RecordError, match=r"record 'r1': 'rejected_images'\[0\]: cannot read 3 bytes"):
        dataclasses.replace(encode, two_sided=True)(dataclasses.replace(RECORD, rejected_images=(b"abc",)))


def test_too_many_images_are_an_error(encode, reading, template):
    one = TileInputs(template, ImageProcessor(4, grid=2), max_images=1)
    with pytest.raises(RecordError, match="record 'r1': has 2 images, at most 1"):
        dataclasses.replace(encode, inputs=one)(RECORD)
    with pytest.raises(RecordError, match="record 'r1': has 2 images, at most 0"):
        reading(RECORD)


def test_what_the_model_cannot_take_is_an_error(encode):
    film = dataclasses.replace(RECORD, images=(), videos=((png(1), png(2)),), where="pairs.jsonl:3")
    with pytest.raises(
        RecordError, match="pairs.jsonl:3: has videos or recordings, and this model sees pictures only"
    ):
        encode(film)
    with pytest.raises(RecordError, match=r"pairs.jsonl:3: 'videos'\[0\]\[1\]: cannot read 3 bytes"):
        encode(dataclasses.replace(film, videos=((png(1), b"abc"),)))


def test_records_without_images_are_fine(encode, reading):
    record = dataclasses.replace(RECORD, images=())
    assert encode(record).prompt.media.pixels.shape == (0, 4, 4, 3)
    assert reading(record).prompt.media is None


def test_views_depend_on_record_name_and_seed_only(encode):
    noisy = dataclasses.replace(encode, views={"noisy": noise, "other": noise}, seed=1)

    def seen(encode, record=RECORD, name="noisy"):
        return encode(record).views[name].media.pixels

    first = seen(noisy)
    np.testing.assert_array_equal(first, seen(noisy))
    assert first.shape == (8, 4, 4, 3)
    others = [
        seen(noisy, name="other"),
        seen(noisy, dataclasses.replace(RECORD, id="r2")),
        seen(dataclasses.replace(noisy, seed=2)),
        encode(RECORD).prompt.media.pixels,
    ]
    assert all((first != other).any() for other in others)
    np.testing.assert_array_equal(noisy(RECORD).views["noisy"].ids, encode(RECORD).prompt.ids)


def test_the_rejected_answer_may_have_pictures_of_its_own(encode):
    both = dataclasses.replace(encode, two_sided=True)
    other = dataclasses.replace(RECORD, rejected_images=(png(99),))
    example = both(other)
    np.testing.assert_array_equal(example.prompt.media.pixels, pixels(RECORD.images))
    np.testing.assert_array_equal(example.views["rejected"].media.pixels, pixels([png(99)]))
    assert len(example.prompt.ids) - len(example.views["rejected"].ids) == 4  # placeholders of one picture
    same = both(RECORD)
    np.testing.assert_array_equal(same.views["rejected"].ids, same.prompt.ids)
    np.testing.assert_array_equal(same.views["rejected"].media.pixels, same.prompt.media.pixels)
    blind = both(dataclasses.replace(RECORD, rejected_images=()))
    assert len(blind.views["rejected"].media.pixels) == 0 and len(blind.prompt.media.pixels) == 8


def test_pictures_of_the_rejected_answer_are_never_dropped_in_silence(encode):
    record = dataclasses.replace(RECORD, rejected_images=RECORD.images, where="pairs.jsonl:3")
    with pytest.raises(RecordError, match="pairs.jsonl:3: has 'rejected_images': set data.two_sided to true"):
        encode(record)


def test_marks_must_match_the_pictures_of_both_sides(encode):
    record = dataclasses.replace(
        RECORD, prompt="<image> or <image>?", rejected_images=(png(1),), where="pairs.jsonl:3"
    )
    with pytest.raises(RecordError, match="pairs.jsonl:3: 'prompt' has 2 <image> marks for 1 images"):
        dataclasses.replace(encode, two_sided=True)(record)


def test_placeholders_must_fit_the_tiles(template):
    with pytest.raises(ValueError, match="4 placeholders for an image of 9 tiles"):
        TileInputs(template, ImageProcessor(4, grid=3))


def test_a_template_that_loses_placeholders_is_noticed(encode, template):
    class Careless:
        tokens_per_image, image_id = template.tokens_per_image, template.image_id
        eos_id, pad_id = template.eos_id, template.pad_id

        def encode_prompt(self, text, num_images):
            return template.encode_prompt(text, num_images)[2:]

    careless = TileInputs(Careless(), ImageProcessor(4, grid=2), max_images=2)
    with pytest.raises(RecordError, match="record 'r1'.*7 placeholders for 2 images"):
        dataclasses.replace(encode, inputs=careless)(RECORD)


def test_everything_that_a_method_reads_is_encoded(encode, template):
    reads = Reads(("chosen", "revised"), views=("similar",), numbers=("margin",), spans=("chosen",), ranked=2)
    record = dataclasses.replace(
        RECORD,
        answers={"revised": "a red"},
        views={"similar": (png(77),)},
        meta={"margin": 2, "note": "kept out"},
        spans={"chosen": (Span(2, 5, "accurate"), Span(6, 12, "inaccurate"))},
        ranked=("a red", "a blue", "a green"),
        scores=(3.0, 2.0, 1.0),
    )
    example = dataclasses.replace(encode, reads=reads)(record)
    np.testing.assert_array_equal(example.completions["revised"], template.encode_completion("a red"))
    np.testing.assert_array_equal(example.views["similar"].media.pixels, pixels([png(77)]))
    assert example.numbers == {"margin": 2.0} and example.ranked_scores == [3.0, 2.0]
    assert [template.decode(ids) for ids in example.ranked] == ["a red", "a blue"]
    ids = example.completions["chosen"]
    for (start, end, label), text in zip(example.spans["chosen"], (" red", " circle"), strict=True):
        assert template._tokenizer.decode(ids[start:end].tolist()) == text, label


@pytest.mark.parametrize(
    ("reads", "message"),
    [
        (Reads(("revised",)), r"'answers'\['revised'\] is missing"),
        (Reads(views=("corrupted",)), r"'views'\['corrupted'\] \(or data.views.corrupted\) is missing"),
        (Reads(numbers=("margin",)), "'margin', a number, is missing"),
        (Reads(spans=("chosen",)), r"'spans'\['chosen'\] is missing"),
        (Reads(ranked=4), "'ranked', two or more answers, is missing"),
    ],
)
def test_what_a_method_reads_and_a_record_lacks_is_named(encode, reads, message):
    record = dataclasses.replace(RECORD, where="pairs.jsonl:3", meta={"margin": "high"})
    with pytest.raises(RecordError, match=f"pairs.jsonl:3: {message}"):
        dataclasses.replace(encode, reads=reads)(record)


def only_short(example):
    return "is too long" if len(example.completions["chosen"]) > 2 else ""


def test_what_a_method_finds_wrong_is_a_reject_with_its_place(encode):
    strict = dataclasses.replace(encode, reads=Reads(check=only_short))
    strict(dataclasses.replace(RECORD, chosen="a"))
    with pytest.raises(RecordError, match="pairs.jsonl:3: is too long"):
        strict(dataclasses.replace(RECORD, where="pairs.jsonl:3"))


def test_a_view_of_the_config_serves_a_record_that_has_none(encode):
    both = dataclasses.replace(encode, reads=Reads(views=("noisy",)), views={"noisy": noise})
    assert both(RECORD).views["noisy"].media.pixels.shape == (8, 4, 4, 3)


def test_spans_in_the_tail_that_is_cut_off_are_dropped(encode):
    text = "a red circle, a blue triangle, a red circle"
    spans = (Span(2, 5, "first"), Span(len(text) - 6, len(text), "last"))
    example = encode(dataclasses.replace(RECORD, chosen=text, spans={"chosen": spans}))
    assert [span.label for span in example.spans["chosen"]] == ["first"]
