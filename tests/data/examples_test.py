import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from align_jax.data.examples import Encode
from align_jax.data.media import ImageProcessor, read_image
from align_jax.data.records import Record, RecordError


def png(level):
    buffer = io.BytesIO()
    Image.fromarray(np.full((6, 5, 3), level, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def noise(image, generator):
    return generator.integers(0, 256, image.shape, np.uint8)


@pytest.fixture
def encode(template):
    return Encode(template, ImageProcessor(4, grid=2), prompt_length=32, completion_length=8, max_images=2)


RECORD = Record("r1", "What is it?", (png(10), png(200)), chosen="a red circle", rejected="a blue")


def test_both_completions_and_all_tiles_are_encoded(encode, template):
    example = encode(RECORD)
    np.testing.assert_array_equal(example.prompt, template.encode_prompt("What is it?", 2))
    np.testing.assert_array_equal(example.completions["chosen"], template.encode_completion("a red circle"))
    np.testing.assert_array_equal(example.completions["rejected"], template.encode_completion("a blue"))
    expected = np.concatenate([encode.processor(read_image(image)) for image in RECORD.images])
    np.testing.assert_array_equal(example.images, expected)
    assert len(expected) == 2 * 4


def test_a_long_completion_loses_its_tail_and_its_end(encode, template):
    text = "a red circle, a blue triangle, a red circle"
    ids = template.encode_completion(text)
    cut = encode(dataclasses.replace(RECORD, chosen=text)).completions["chosen"]
    assert len(ids) > 8
    np.testing.assert_array_equal(cut, ids[:8])
    assert template.eos_id not in cut


def test_a_prompt_may_be_as_long_as_the_tree_and_no_longer(encode):
    size = len(encode(RECORD).prompt) - 1
    assert len(dataclasses.replace(encode, prompt_length=size)(RECORD).prompt) == size + 1
    with pytest.raises(
        RecordError, match=f"takes {size} tokens, 8 of them for images, and `prompt_length` is {size - 1}"
    ):
        dataclasses.replace(encode, prompt_length=size - 1)(RECORD)


def test_missing_completion_is_an_error_only_where_it_is_needed(encode):
    record = dataclasses.replace(RECORD, rejected=None, where="pairs.jsonl:3")
    assert set(encode(record).completions) == {"chosen"}
    with pytest.raises(RecordError, match="pairs.jsonl:3: 'rejected' is missing"):
        dataclasses.replace(encode, completions=("chosen", "rejected"))(record)


def test_broken_image_names_record_and_field(encode):
    with pytest.raises(RecordError, match=r"record 'r1': 'images'\[1\]: cannot read 3 bytes"):
        encode(dataclasses.replace(RECORD, images=(png(1), b"abc")))


def test_too_many_images_are_an_error(encode, template):
    with pytest.raises(RecordError, match="has 2 images, at most 1"):
        dataclasses.replace(encode, max_images=1)(RECORD)
    with pytest.raises(RecordError, match="has 2 images, at most 0"):
        dataclasses.replace(encode, processor=None)(RECORD)


def test_records_without_images_are_fine(encode):
    record = dataclasses.replace(RECORD, images=())
    assert encode(record).images.shape == (0, 4, 4, 3)
    assert dataclasses.replace(encode, processor=None)(record).images.shape[0] == 0


def test_views_depend_on_record_name_and_seed_only(encode):
    noisy = dataclasses.replace(encode, views={"noisy": noise, "other": noise}, seed=1)
    first = noisy(RECORD).views
    np.testing.assert_array_equal(first["noisy"], noisy(RECORD).views["noisy"])
    assert first["noisy"].shape == (8, 4, 4, 3)
    others = [
        first["other"],
        noisy(dataclasses.replace(RECORD, id="r2")).views["noisy"],
        dataclasses.replace(noisy, seed=2)(RECORD).views["noisy"],
        encode(RECORD).images,
    ]
    assert all((first["noisy"] != other).any() for other in others)


def test_placeholders_must_fit_the_tiles(encode):
    with pytest.raises(ValueError, match="4 placeholders for an image of 9 tiles"):
        dataclasses.replace(encode, processor=ImageProcessor(4, grid=3))


def test_a_template_that_loses_placeholders_is_noticed(encode, template):
    class Careless:
        tokens_per_image, image_id = template.tokens_per_image, template.image_id

        def encode_prompt(self, text, num_images):
            return template.encode_prompt(text, num_images)[2:]

    with pytest.raises(RecordError, match="7 placeholders for 2 images"):
        dataclasses.replace(encode, template=Careless())(RECORD)
