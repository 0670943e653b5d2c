import jax.numpy as jnp
import numpy as np
import pytest

from align_jax.losses.chosen_nll import chosen_nll
from align_jax.losses.sft import sft
from align_jax.types import CompletionBatch, Pair, PreferenceBatch, Scores

LOGPS = jnp.asarray([[-1.0, -2.0, 0.0], [-4.0, 0.0, 0.0], [-9.0, -9.0, -9.0]])
MASK = jnp.asarray([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
WEIGHT = jnp.asarray([1.0, 1.0, 0.0])  # the last row is padding


def test_sft_averages_over_tokens_not_over_rows():
    mean, _ = sft(Scores(LOGPS, MASK), None, CompletionBatch(None, WEIGHT))
    np.testing.assert_allclose(mean.value, (1 + 2 + 4) / 3)


@pytest.mark.parametrize("reduction, expected", [("token", 7 / 3), ("sequence", 7 / 2)])
def test_chosen_nll_reads_the_chosen_side(reduction, expected):
    pair = Pair(Scores(LOGPS, MASK), Scores(LOGPS * 5, MASK))
    mean, _ = chosen_nll(pair, None, PreferenceBatch(None, WEIGHT), reduction=reduction)
    np.testing.assert_allclose(mean.value, expected)


def test_unknown_reduction_is_refused():
    pair = Pair(Scores(LOGPS, MASK), Scores(LOGPS, MASK))
    with pytest.raises(ValueError, match="token.*sequence"):
        chosen_nll(pair, None, PreferenceBatch(None, WEIGHT), reduction="mean")
