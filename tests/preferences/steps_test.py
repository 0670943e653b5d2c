import numpy as np
import pytest

from align_jax.data.examples import Encode
from align_jax.data.inputs import TileInputs
from align_jax.data.pack import TreePacker
from align_jax.data.records import Record, RecordError
from align_jax.data.templates import ChatTemplate, train_tokenizer
from align_jax.preferences.steps import step_pair
from align_jax.types import PreferenceBatch, Reads

QUESTION = Record("q", "<image>\nWhat is 2 + 3 * 4?", images=("sum.png",), chosen="14", where="sums.jsonl:1")


def test_the_steps_end_the_prompt_and_the_answers_are_single_steps():
    record = step_pair(QUESTION, ["First, 3 * 4 = 12.", "Then add 2."], "2 + 12 = 14.", "2 + 12 = 24.")
    assert record.prompt == "<image>\nWhat is 2 + 3 * 4?\nFirst, 3 * 4 = 12.\nThen add 2."
    assert (record.chosen, record.rejected) == ("2 + 12 = 14.", "2 + 12 = 24.")
    assert (record.id, record.images, record.where) == ("q", ("sum.png",), "sums.jsonl:1")
    assert QUESTION.chosen == "14" and QUESTION.rejected is None


def test_the_first_step_has_no_prefix_and_the_separator_is_a_choice():
    assert step_pair(QUESTION, [], "3 * 4 = 12.", "2 + 3 = 5.").prompt == QUESTION.prompt
    assert step_pair(QUESTION, ["a.", "b."], "c.", "d.", separator=" ").prompt == f"{QUESTION.prompt} a. b."


@pytest.mark.parametrize("steps, good, bad", [([], " ", "a"), ([], "a", ""), (["a", "\n"], "b", "c"), ([], "a", "a ")])
def test_empty_and_equal_steps_are_refused_by_name(steps, good, bad):
    with pytest.raises(RecordError, match="^sums.jsonl:1: "):
        step_pair(QUESTION, steps, good, bad)


def test_only_the_next_step_is_trained():
    template = ChatTemplate(train_tokenizer(["two and three make five; then four"] * 3, 300), tokens_per_image=0)
    plain = Record("q", "two and three")
    record = step_pair(plain, ["make five"], "then four", "then five")
    encode = Encode(TileInputs(template, None), 60, 20, reads=Reads(completions=("chosen", "rejected")))
    batch = PreferenceBatch.pack([encode(record)], TreePacker(1, 60, 20, template.pad_id))
    trained = [np.asarray(batch.tree.targets[0, k])[batch.tree.mask[0, k] > 0] for k in range(2)]
    assert [template.decode(ids).strip() for ids in trained] == ["then four", "then five"]
    assert "make five" in template.decode(batch.tree.prompt[0])
