"""Pairs whose two answers were given different media: two trees where the other pairs have one."""

import dataclasses
import io

import jax
import numpy as np
import pytest
from PIL import Image

from align_jax.data.examples import Encode
from align_jax.data.inputs import TileInputs
from align_jax.data.media import ImageProcessor
from align_jax.data.pack import TreePacker
from align_jax.data.records import Record, RecordError
from align_jax.data.templates import ChatTemplate, train_tokenizer
from align_jax.losses import Objective
from align_jax.types import PreferenceBatch, Prompt, Tiles, TwoSidedBatch
from tests import tiny
from tests.losses.contract_test import assert_close, batch_of

ROWS = 4


def sided(examples, other: str | None = None):
    """Examples with a view "rejected": the prompt itself, or another of their views."""
    return [dataclasses.replace(e, views={"rejected": e.views[other] if other else e.prompt}) for e in examples]


@pytest.fixture(scope="module")
def dpo():
    """DPO's mean and metrics over examples, in one tree or in two."""
    one = Objective.build({"name": "dpo"})
    both = dataclasses.replace(one, batch=TwoSidedBatch)
    evaluate = {o.batch: jax.jit(tiny.evaluate(o)) for o in (one, both)}

    def run(examples, two_sided: bool):
        objective = both if two_sided else one
        batch = batch_of(objective, examples, ROWS)
        return evaluate[objective.batch](tiny.params(0), tiny.params(1), batch, {})[:2]

    return run


def test_the_same_media_on_both_sides_are_a_plain_pair(dpo):
    examples = tiny.examples(ROWS - 1)
    assert_close(dpo(examples, two_sided=False), dpo(sided(examples), two_sided=True))


def test_other_media_change_the_rejected_side_alone(dpo):
    examples = tiny.examples(ROWS - 1)
    (same,), before = dpo(examples, two_sided=False)
    (other,), after = dpo(sided(examples, "corrupted"), two_sided=True)
    assert abs(same.value - other.value) > 1e-4
    np.testing.assert_allclose(before["logps/chosen"].value, after["logps/chosen"].value, rtol=1e-5)
    assert abs(before["logps/rejected"].value - after["logps/rejected"].value) > 1e-2


def test_the_rejected_tree_has_prompt_and_media_of_its_own():
    first, second = tiny.examples(2)
    other = Prompt(np.array([1, 9, 4], np.int32), Tiles(np.zeros((0, 8, 8, 3), np.float32)))
    examples = [dataclasses.replace(first, views={"rejected": other}), *sided([second])]
    batch = batch_of(dataclasses.replace(Objective.build({"name": "dpo"}), batch=TwoSidedBatch), examples, ROWS)
    chosen, rejected = batch.trees()
    assert chosen.targets.shape[1] == rejected.targets.shape[1] == 1
    np.testing.assert_array_equal(batch.weight, [1, 1, 0, 0])
    for row, example in enumerate(examples):
        for tree, prompt, name in (
            (chosen, example.prompt, "chosen"),
            (rejected, example.views["rejected"], "rejected"),
        ):
            completion = example.completions[name]
            np.testing.assert_array_equal(tree.prompt[row, : len(prompt.ids) - 1], prompt.ids[:-1])
            np.testing.assert_array_equal(tree.targets[row, 0, : len(completion)], completion)
            assert tree.mask[row].sum() == len(completion)
            np.testing.assert_array_equal(tree.media.pixels[row, : len(prompt.media.pixels)], prompt.media.pixels)
    assert rejected.media.pixels[0].sum() == 0


def test_a_record_with_rejected_images_becomes_two_trees():
    def png(level):
        data = io.BytesIO()
        Image.fromarray(np.full((4, 4, 3), level, np.uint8)).save(data, "PNG")
        return data.getvalue()

    template = ChatTemplate(train_tokenizer(["red", "blue"], 300), tokens_per_image=4)
    inputs = TileInputs(template, ImageProcessor(4, mean=(0.0,) * 3, std=(1.0,) * 3), max_images=2)
    encode = Encode(inputs, 16, 8, reads=PreferenceBatch.reads)
    pack = TreePacker(2, 16, 8, template.pad_id, inputs.empty, items=2)
    records = [
        Record("a", "which?", (png(51), png(102)), "red", "blue", rejected_images=(png(204),)),
        Record("b", "which?", (png(51),), "red", "blue"),
    ]
    with pytest.raises(RecordError, match="record 'a': has 'rejected_images': set data.two_sided to true"):
        encode(records[0])
    examples = [dataclasses.replace(encode, two_sided=True)(record) for record in records]
    chosen, rejected = TwoSidedBatch.pack(examples, pack).trees()
    for tree, answer, levels in ((chosen, "red", [[0.2, 0.4], [0.2, 0]]), (rejected, "blue", [[0.8, 0], [0.2, 0]])):
        np.testing.assert_allclose(tree.media.pixels[:, :, 0, 0, 0], levels, atol=1e-6)
        np.testing.assert_array_equal((tree.prompt == template.image_id).sum(-1), 4 * (np.array(levels) > 0).sum(-1))
        assert [template.decode(target[0]) for target in tree.targets] == [answer] * 2
