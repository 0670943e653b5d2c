import pickle

import numpy as np
import pytest

from align_jax.data.records import RecordError
from align_jax.data.templates import ChatTemplate, train_tokenizer

CAPTIONS = [
    f"a {colour} {shape}, a blue triangle" for colour in ("red", "green", "teal") for shape in ("circle", "square")
] * 3


def test_common_words_become_single_tokens():
    template = ChatTemplate(train_tokenizer(CAPTIONS, 400), 1)
    assert len(template.encode_completion("a red circle, a blue triangle")) == len(
        "a| red| circle|,| a| blue| triangle|.".split("|")
    )


def test_training_is_deterministic():
    assert train_tokenizer(CAPTIONS, 400).to_str() == train_tokenizer(CAPTIONS, 400).to_str()


def test_vocabulary_keeps_to_its_bound():
    assert train_tokenizer(CAPTIONS, 270).get_vocab_size() == 270
    with pytest.raises(ValueError, match="at least 261"):
        train_tokenizer(CAPTIONS, 260)


@pytest.mark.parametrize(
    "text", ["a red circle", "héllo 你好 🎉", "two\n\nlines  and\tspaces", "<eos> <pad><image>", "\x00\x7f", "x"]
)
def test_any_text_comes_back(template, text):
    assert template.decode(template.encode_completion(text)) == text


def test_text_never_becomes_a_special_token(template):
    text = "<pad> <bos> <eos> <assistant> </s>"
    special = {template.pad_id, template.bos_id, template.eos_id, template.image_id, template.assistant_id}
    for copy in (template, pickle.loads(pickle.dumps(template))):
        assert not special & set(copy.encode_completion(text + "<image>")[:-1].tolist())
        assert not special & set(copy.encode_prompt(text, 0)[1:-1].tolist())


def test_each_mark_becomes_the_placeholders_of_one_image(template):
    ids = template.encode_prompt("What <image> is <image> it?", 2)
    words = [template.encode_completion(text)[:-1] for text in ("What ", " is ", " it?")]
    images = [template.image_id] * template.tokens_per_image
    expected = [template.bos_id, *words[0], *images, *words[1], *images, *words[2], template.assistant_id]
    np.testing.assert_array_equal(ids, expected)
    assert ids.dtype == np.int32


def test_images_come_first_without_marks(template):
    np.testing.assert_array_equal(template.encode_prompt("What?", 2), template.encode_prompt("<image><image>What?", 2))


def test_marks_that_do_not_match_are_an_error(template):
    with pytest.raises(RecordError, match="1 <image> marks for 2 images"):
        template.encode_prompt("<image> What?", 2)


def test_decoding_stops_at_the_end_and_drops_specials(template):
    ids = template.encode_completion(" a red circle ").tolist()
    padded = [template.bos_id, template.image_id, *ids, *ids, template.pad_id]
    assert template.decode(np.array(padded)) == "a red circle"


def test_save_and_load_keep_everything(template, tmp_path):
    template.save(tmp_path / "model")
    loaded = ChatTemplate.load(tmp_path / "model")
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == ["template.json", "tokenizer.json"]
    assert (loaded.vocab_size, loaded.tokens_per_image) == (template.vocab_size, template.tokens_per_image)
    text = "<image> a red <eos> circle"
    np.testing.assert_array_equal(loaded.encode_prompt(text, 1), template.encode_prompt(text, 1))
