import dataclasses

import numpy as np
import pytest

from align_jax.data.pack import TreePacker, few_sizes
from align_jax.types import Example, Patches, PreferenceBatch, Prompt, Sound, Tiles

PAD = 9
EMPTY = Tiles(np.zeros((0, 2, 2, 3), np.float32))
PACK = TreePacker(batch_size=3, prompt_length=4, completion_length=3, pad_id=PAD, empty=EMPTY, items=2)


def tiles(n, value):
    return Tiles(np.full((n, 2, 2, 3), value, np.float32))


def ints(*values):
    return np.array(values, np.int32)


EXAMPLES = [
    Example(
        "a",
        Prompt(ints(1, 2, 3), tiles(1, 5.0)),
        {"chosen": ints(4, 5, 0), "rejected": ints(6, 0)},
        {"dark": Prompt(ints(1, 7, 7, 3), tiles(1, 7.0))},
    ),
    Example(
        "b",
        Prompt(ints(1, 2, 3, 4, 8), tiles(2, 6.0)),
        {"chosen": ints(0), "rejected": ints(5, 5, 5)},
        {"dark": Prompt(ints(1, 2, 3, 4, 8), tiles(2, 8.0))},
    ),
]


def test_the_last_prompt_token_opens_the_completion():
    tree = PACK(EXAMPLES, ("chosen", "rejected"))
    np.testing.assert_array_equal(tree.prompt, [[1, 2, PAD, PAD], [1, 2, 3, 4], [PAD] * 4])
    np.testing.assert_array_equal(tree.prompt_mask, [[1, 1, 0, 0], [1, 1, 1, 1], [0] * 4])
    np.testing.assert_array_equal(tree.tokens[0], [[3, 4, 5], [3, 6, PAD]])
    np.testing.assert_array_equal(tree.targets[0], [[4, 5, 0], [6, 0, PAD]])
    np.testing.assert_array_equal(tree.mask[0], [[1, 1, 1], [1, 1, 0]])
    np.testing.assert_array_equal(tree.tokens[1], [[8, PAD, PAD], [8, 5, 5]])
    np.testing.assert_array_equal(tree.targets[1], [[0, PAD, PAD], [5, 5, 5]])


def test_completions_follow_the_order_of_the_names():
    np.testing.assert_array_equal(
        PACK(EXAMPLES, ("rejected", "chosen")).targets, PACK(EXAMPLES, ("chosen", "rejected")).targets[:, ::-1]
    )


def test_pixels_stand_in_their_row_and_come_from_the_view():
    for view, levels in ((None, (5.0, 6.0)), ("dark", (7.0, 8.0))):
        pixels = PACK(EXAMPLES, ("chosen",), view).media.pixels
        np.testing.assert_array_equal(pixels[:, :, 0, 0, 0], [[levels[0], 0], [levels[1]] * 2, [0, 0]])
    assert TreePacker(3, 4, 3, PAD)([], ("chosen",)).media is None


def test_a_view_brings_its_own_placeholders():
    # Other pictures may take other numbers of tokens, and then the last token of the prompt moves, too.
    tree = PACK(EXAMPLES, ("chosen",), "dark")
    np.testing.assert_array_equal(tree.prompt[0], [1, 7, 7, PAD])
    np.testing.assert_array_equal(tree.prompt_mask[0], [1, 1, 1, 0])
    np.testing.assert_array_equal(tree.tokens[0], [[3, 4, 5]])


def test_a_prompt_without_media_takes_the_empty_ones():
    blind = dataclasses.replace(EXAMPLES[0], prompt=Prompt(ints(1, 2, 3)))
    pixels = PACK([blind, EXAMPLES[1]], ("chosen",)).media.pixels
    np.testing.assert_array_equal(pixels[:, :, 0, 0, 0], [[0, 0], [6, 6], [0, 0]])
    assert TreePacker(3, 4, 3, PAD)([blind], ("chosen",)).media is None


def test_positions_are_packed_like_the_tokens_for_models_that_turn_by_them():
    positions = np.arange(9, dtype=np.int32).reshape(3, 3)
    turned = dataclasses.replace(EXAMPLES[0], prompt=Prompt(ints(1, 2, 3), tiles(1, 5.0), positions))
    tree = dataclasses.replace(PACK, turned=True)([turned], ("chosen",))
    assert tree.positions.shape == (3, 4, 3) and tree.positions.dtype == np.int32
    np.testing.assert_array_equal(tree.positions[0], [[0, 1, 2], [3, 4, 5], [0, 0, 0], [0, 0, 0]])
    assert tree.positions[1:].sum() == 0
    np.testing.assert_array_equal(tree.start, [8, 0, 0])  # of the last token, from which the completion counts on
    plain = PACK([turned], ("chosen",))
    assert plain.positions is None and plain.start is None


def test_media_are_padded_to_the_largest_row_in_few_sizes():
    dynamic = dataclasses.replace(PACK, items=0)
    assert dynamic([], ("chosen",)).media.pixels.shape[:2] == (3, 1)
    assert dynamic(EXAMPLES[:1], ("chosen",)).media.pixels.shape[:2] == (3, 1)
    assert dynamic(EXAMPLES, ("chosen",)).media.pixels.shape[:2] == (3, 2)
    many = dataclasses.replace(EXAMPLES[0], prompt=Prompt(ints(1, 2), tiles(9, 1.0)))
    pixels = dynamic([EXAMPLES[0], many], ("chosen",)).media.pixels
    np.testing.assert_array_equal(pixels[:, :, 0, 0, 0].sum(1), [5, 9, 0])
    assert pixels.shape[1] == 10


def test_few_sizes_hold_what_is_needed_and_waste_at_most_a_fifth():
    sizes = [few_sizes(need, 1) for need in range(1, 2000)]
    assert all(need <= size and 1 - need / size <= 0.2 for need, size in enumerate(sizes, 1))
    assert sorted(set(sizes))[:14] == [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24]
    assert len(set(sizes)) <= 8 + 4 * 8
    assert [few_sizes(need, 64) for need in (0, 1, 64, 65, 513)] == [64, 64, 64, 128, 640]


def test_slots_are_as_long_as_the_prompt_and_padding_weighs_nothing():
    empty = Tiles(EMPTY.pixels, np.zeros((0, 2), np.int32), np.zeros((0, 2), np.float32))
    shown = Tiles(tiles(1, 5.0).pixels, np.array([[3, -1]], np.int32), np.ones((1, 2), np.float32))
    example = dataclasses.replace(EXAMPLES[0], prompt=Prompt(ints(1, 2, 3), shown))
    media = dataclasses.replace(PACK, empty=empty)([example], ("chosen",)).media
    assert media.slots.shape == media.weights.shape == (3, 4, 2)
    np.testing.assert_array_equal(media.slots[0], [[3, -1], [0, 0], [0, 0], [0, 0]])
    np.testing.assert_array_equal(media.weights.sum((1, 2)), [2, 0, 0])
    assert media.pixels.shape == (3, 2, 2, 2, 3)


def test_patches_come_in_multiples_of_64_and_padding_is_segment_0():
    def patches(n, placeholders):
        grid = np.zeros((n, 2), np.int32)
        slots = np.arange(placeholders, dtype=np.int32)
        return Patches(np.ones((n, 12), np.float32), np.ones(n, np.int32), grid, grid + 4, slots)

    pack = dataclasses.replace(PACK, empty=patches(0, 0), items=0)
    media = pack(
        [dataclasses.replace(EXAMPLES[1], prompt=Prompt(ints(1, 2, 3, 4), patches(70, 2)))], ("chosen",)
    ).media
    shapes = {name: value.shape for name, value in vars(media).items()}
    assert shapes == dict(pixels=(3, 128, 12), segment=(3, 128), place=(3, 128, 2), size=(3, 128, 2), slots=(3, 4))
    np.testing.assert_array_equal(media.segment.sum(1), [70, 0, 0])
    np.testing.assert_array_equal(media.slots[0], [0, 1, 0, 0])


def test_recordings_are_padded_like_tiles():
    def sound(n, placeholders):
        return Sound(
            np.ones((n, 6, 2), np.float32), np.ones((n, 6), np.float32), np.arange(placeholders, dtype=np.int32)
        )

    pack = dataclasses.replace(PACK, empty=sound(0, 0), items=0)
    media = pack([dataclasses.replace(EXAMPLES[0], prompt=Prompt(ints(1, 2, 3), sound(2, 2)))], ("chosen",)).media
    assert media.mel.shape == (3, 2, 6, 2) and media.slots.shape == (3, 4)
    np.testing.assert_array_equal(media.mask.sum((1, 2)), [12, 0, 0])


def test_rows_past_the_examples_weigh_nothing():
    batch = PreferenceBatch.pack(EXAMPLES[:1], PACK)
    np.testing.assert_array_equal(batch.weight, [1, 0, 0])
    assert batch.tree.mask[1:].sum() == 0 and batch.tree.prompt_mask[1:].sum() == 0
    assert PreferenceBatch.pack([], PACK).weight.sum() == 0


def test_shapes_and_types_do_not_depend_on_the_examples():
    for examples in ([], EXAMPLES):
        tree = PACK(examples, ("chosen", "rejected"))
        assert [x.dtype for x in (tree.prompt, tree.tokens, tree.targets)] == [np.int32] * 3
        assert [x.dtype for x in (tree.prompt_mask, tree.mask, tree.media.pixels)] == [np.float32] * 3
        assert (tree.prompt.shape, tree.tokens.shape, tree.media.pixels.shape) == ((3, 4), (3, 2, 3), (3, 2, 2, 2, 3))


LARGER = Tiles(np.zeros((1, 4, 4, 3), np.float32))


@pytest.mark.parametrize(
    "example, message",
    [
        (Example("x", Prompt(ints(*range(6)), EMPTY), {"chosen": ints(1)}), "prompt of 5 where 4 fit"),
        (Example("x", Prompt(ints(1, 2), EMPTY), {"chosen": ints(1, 2, 3, 4)}), "chosen of 4 where 3 fit"),
        (Example("x", Prompt(ints(1, 2), tiles(3, 0)), {"chosen": ints(1)}), "media of 3 where 2 fit"),
        (
            Example("x", Prompt(ints(1, 2), LARGER), {"chosen": ints(1)}),
            r"media of shape \(4, 4, 3\), expected \(2, 2",
        ),
        (Example("x", Prompt(ints(1, 2), EMPTY), {"rejected": ints(1)}), "no completion 'chosen'; it has: rejected"),
    ],
)
def test_what_does_not_fit_is_an_error(example, message):
    with pytest.raises(ValueError, match=f"example 'x'.*{message}"):
        PACK([example], ("chosen",))
    with pytest.raises(ValueError, match="4 examples do not fit into a batch of 3"):
        PACK(EXAMPLES * 2, ("chosen",))


def test_a_view_that_is_missing_is_an_error():
    with pytest.raises(ValueError, match="example 'a' has no view 'bright'; it has: dark"):
        PACK(EXAMPLES, ("chosen",), "bright")
