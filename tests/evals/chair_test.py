import numpy as np
import pytest

from align_jax.evals.chair import chair, count

SAID = [["cat", "cat", "dog"], ["dog", None], ["bus"], []]
TRUTH = [["cat"], ["dog", "bus"], ["bus"], ["cat"]]


def test_chair_is_a_ratio_of_corpus_sums_with_repeats():
    # Mentions 3 + 2 + 1 + 0 = 6; hallucinated: "dog" in the first, the malformed one in the second.
    result = chair(SAID, TRUTH)
    assert result.chair_i == pytest.approx(2 / 6)
    assert result.chair_s == pytest.approx(2 / 4)
    # The mean of per-caption rates would be (1/3 + 1/2 + 0 + 0) / 4 = .21.
    assert result.recall == pytest.approx(3 / 5)  # cat of {cat}, dog of {dog, bus}, bus of {bus}, none of {cat}
    assert result.exact == pytest.approx(1 / 4)  # the third
    assert result.malformed == pytest.approx(1 / 6)
    assert result.mentions == pytest.approx(6 / 4)


def test_a_repeated_hallucination_counts_each_time():
    assert chair([["dog", "dog", "cat"]], [["cat"]]).chair_i == pytest.approx(2 / 3)


def test_the_official_count_skips_malformed_mentions():
    result = chair(SAID, TRUTH, strict=False)
    assert result.chair_i == pytest.approx(1 / 5)
    assert result.chair_s == pytest.approx(1 / 4)
    assert result.malformed == 0.0
    assert result.mentions == pytest.approx(5 / 4)


def test_writing_what_cannot_be_parsed_lowers_only_the_lenient_score():
    honest, gamed = [["cat", "dog"]], [["cat", None]]
    truth = [["cat"]]
    assert chair(gamed, truth, strict=False).chair_i == 0.0
    assert chair(gamed, truth).chair_i == chair(honest, truth).chair_i == 0.5


def test_exact_match_compares_multisets_in_any_order():
    said = [["a", "b"], ["b", "a", "a"], ["a", "a"], ["a"]]
    truth = [["b", "a"], ["a", "a", "b"], ["a"], ["a", "b"]]
    assert count(said, truth).exact.tolist() == [True, True, False, False]


def test_recall_is_over_sets():
    assert chair([["a", "a"]], [["a", "a", "b"]]).recall == pytest.approx(1 / 2)


def test_saying_nothing_hallucinates_nothing_and_recalls_nothing():
    assert chair([[], []], [["cat"], ["dog"]]) == (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


def test_counts_add_up_to_the_scores():
    c = count(SAID, TRUTH)
    np.testing.assert_array_equal(c.mentioned, [3, 2, 1, 0])
    np.testing.assert_array_equal(c.hallucinated, [1, 1, 0, 0])
    np.testing.assert_array_equal(c.malformed, [0, 1, 0, 0])
    np.testing.assert_array_equal(c.present, [1, 2, 1, 1])
    np.testing.assert_array_equal(c.covered, [1, 1, 1, 0])


def test_captions_and_truths_must_be_as_many():
    with pytest.raises(ValueError):
        chair([["a"]], [])
