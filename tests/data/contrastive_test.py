"""Pictures and texts as a dual encoder takes them."""

import pickle

import numpy as np
import pytest

from align_jax.data.contrastive import ContrastiveInputs
from align_jax.data.media import CLIP_MEAN, CLIP_STD
from align_jax.data.records import RecordError
from tests import contrastive

pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip")
    contrastive.make_files(path)
    return path


@pytest.fixture(scope="module")
def inputs(folder):
    return ContrastiveInputs(folder)


def test_prompt_and_completion_are_the_text_as_the_tokenizer_writes_it(inputs):
    picture = np.full((16, 16, 3), 51, np.uint8)
    prompt, text = inputs.prompt("<image>", [picture]), inputs.completion("a Red dog")
    whole = inputs.tokenizer("a Red dog")["input_ids"]
    assert [*prompt.ids, *text] == whole and whole[-1] == inputs.eos_id != whole[0]
    assert inputs.decode(text) == "a red dog" and text.dtype == prompt.ids.dtype == np.int32
    expected = (0.2 - np.array(CLIP_MEAN)) / np.array(CLIP_STD)
    np.testing.assert_allclose(prompt.media.pixels, np.broadcast_to(expected, (1, 16, 16, 3)), rtol=1e-5)
    assert prompt.media.pixels.shape[1:] == inputs.empty.pixels.shape[1:] and prompt.media.slots is None


@pytest.mark.parametrize(("length", "kept"), [(None, contrastive.CONTEXT - 1), (100, contrastive.CONTEXT - 1), (6, 6)])
def test_a_text_that_is_too_long_keeps_its_end(folder, length, kept):
    ids = ContrastiveInputs(folder, length).completion("word " * 20)
    assert len(ids) == kept and ids[-1] == ContrastiveInputs(folder).eos_id


def test_places_are_characters_of_the_text(inputs):
    text = "a dog"
    places = inputs.places(text)
    assert len(places) == len(inputs.completion(text))
    assert [text[start:end] for start, end in places] == ["a", "d", "o", "g", ""]


def test_a_copy_for_a_worker_says_the_same(folder):
    inputs = ContrastiveInputs(folder, 6)
    copy = pickle.loads(pickle.dumps(inputs))
    np.testing.assert_array_equal(copy.completion("a dog and a cat"), inputs.completion("a dog and a cat"))


def test_what_the_model_cannot_take_is_a_reject(inputs):
    picture = np.zeros((20, 16, 3), np.uint8)
    with pytest.raises(RecordError, match="<image> alone"):
        inputs.prompt("what is it?", [picture])
    with pytest.raises(RecordError, match="2 images"):
        inputs.prompt("<image>", [picture, picture])
    with pytest.raises(RecordError, match="endoftext"):
        inputs.completion("a <|endoftext|> dog")
