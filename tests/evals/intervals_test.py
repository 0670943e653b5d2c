import numpy as np
import pytest

from align_jax.evals import intervals


def test_the_interval_of_a_mean_has_the_width_of_the_normal_one():
    hits = np.repeat([0.0, 1.0], [700, 300])
    value, low, high = intervals.ratio(hits, resamples=4000)
    assert value == pytest.approx(0.3)
    # 1.96 * sqrt(.3 * .7 / 1000) = .0284
    assert (low, high) == pytest.approx((0.3 - 0.0284, 0.3 + 0.0284), abs=0.003)


def test_a_ratio_of_sums_resamples_both_together():
    # Every item has the ratio 1/4: however items are drawn, the ratio of sums cannot move.
    denominator = np.arange(1, 40)
    assert intervals.ratio(denominator / 4, denominator) == pytest.approx((0.25, 0.25, 0.25))


def test_the_value_is_a_ratio_of_sums_not_a_mean_of_ratios():
    assert intervals.ratio([1, 0], [1, 9]).value == pytest.approx(0.1)  # the mean of ratios is .5


def test_a_paired_difference_cancels_what_both_models_share():
    hard = np.random.default_rng(0).random(400) < 0.5
    one, other = hard.astype(float), hard.astype(float)
    other[:8] = 1 - other[:8]  # they differ on 8 of 400 items
    paired = intervals.difference(one, other)
    assert paired.value == pytest.approx(one.mean() - other.mean())
    assert paired.high - paired.low < 0.04  # unpaired: 2 * 1.96 * sqrt(2 * .25 / 400) = .139
    assert intervals.difference(one, one) == (0.0, 0.0, 0.0)


def test_a_difference_of_ratios_has_two_denominators():
    value = intervals.difference([1, 1], [1, 1], [2, 2], [4, 4]).value
    assert value == pytest.approx(2 / 4 - 2 / 8)


def test_the_seed_fixes_the_interval():
    x = np.random.default_rng(0).random(50)
    assert intervals.ratio(x, seed=1) == intervals.ratio(x, seed=1)
    assert intervals.ratio(x, seed=1) != intervals.ratio(x, seed=2)


def test_nothing_mentioned_is_zero():
    assert intervals.ratio([0, 0, 0], [0, 0, 0]) == (0.0, 0.0, 0.0)


def test_shapes_are_checked():
    with pytest.raises(ValueError, match="at least 2"):
        intervals.ratio([1.0])
    with pytest.raises(ValueError, match="one length"):
        intervals.ratio([1.0, 2.0], [1.0, 2.0, 3.0])
