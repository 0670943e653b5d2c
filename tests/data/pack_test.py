import numpy as np
import pytest

from align_jax.data.pack import TreePacker
from align_jax.types import Example, PreferenceBatch

PAD = 9
PACK = TreePacker(batch_size=3, prompt_length=4, completion_length=3, num_images=2, image_shape=(2, 2, 3), pad_id=PAD)


def tiles(n, value):
    return np.full((n, 2, 2, 3), value, np.float32)


def ints(*values):
    return np.array(values, np.int32)


EXAMPLES = [
    Example(
        "a", ints(1, 2, 3), tiles(1, 5.0), {"chosen": ints(4, 5, 0), "rejected": ints(6, 0)}, {"dark": tiles(1, 7.0)}
    ),
    Example(
        "b",
        ints(1, 2, 3, 4, 8),
        tiles(2, 6.0),
        {"chosen": ints(0), "rejected": ints(5, 5, 5)},
        {"dark": tiles(2, 8.0)},
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
    assert TreePacker(3, 4, 3, 0, (2, 2, 3), PAD)([], ("chosen",)).media is None


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


@pytest.mark.parametrize(
    "example, message",
    [
        (Example("x", ints(*range(6)), tiles(0, 0), {"chosen": ints(1)}), "prompt of 5 where 4 fit"),
        (Example("x", ints(1, 2), tiles(0, 0), {"chosen": ints(1, 2, 3, 4)}), "chosen of 4 where 3 fit"),
        (Example("x", ints(1, 2), tiles(3, 0), {"chosen": ints(1)}), "images of 3 where 2 fit"),
        (Example("x", ints(1, 2), np.zeros((1, 4, 4, 3), np.float32), {"chosen": ints(1)}), r"tiles of \(4, 4, 3\)"),
        (Example("x", ints(1, 2), tiles(0, 0), {"rejected": ints(1)}), "no completion 'chosen'; it has: rejected"),
    ],
)
def test_what_does_not_fit_is_an_error(example, message):
    with pytest.raises(ValueError, match=f"example 'x'.*{message}"):
        PACK([example], ("chosen",))
    with pytest.raises(ValueError, match="4 examples do not fit into a batch of 3"):
        PACK(EXAMPLES * 2, ("chosen",))
