import jax.numpy as jnp
import numpy as np
import pytest

from align_jax.losses.chosen_nll import chosen_nll
from align_jax.losses.sft import sft
from align_jax.types import CompletionBatch, Pair, PreferenceBatch, Scores
from tests.losses import cases

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


@pytest.mark.parametrize("reduction", ["token", "sequence"])
def test_value_and_gradient_equal_the_definition(reduction):
    mask, weight = cases.mask(), cases.weight()
    policy, batch = cases.logps(mask), PreferenceBatch(None, jnp.asarray(weight))

    def ours(x):
        return chosen_nll(cases.pair(x, mask), None, batch, reduction=reduction)[0].value

    def theirs(x):
        rows = x[0][weight > 0]  # the rejected side has no part in it
        tokens = mask[0][weight > 0].sum() if reduction == "token" else len(rows)
        return -rows.sum() / tokens

    cases.check(ours, theirs, policy, mask)


def test_sft_has_the_gradient_of_a_mean_over_tokens():
    mask, weight = cases.mask(completions=1)[0], cases.weight()
    batch = CompletionBatch(None, jnp.asarray(weight))
    ours = lambda x: sft(cases.scores(x, mask), None, batch)[0].value  # noqa: E731
    counts = mask * weight[:, None]
    cases.check(ours, lambda x: -(x * counts).sum() / counts.sum(), cases.logps(mask), mask)
