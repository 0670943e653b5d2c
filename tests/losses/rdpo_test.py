import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from align_jax.losses.mdpo import ImagePair, ImagePairBatch
from align_jax.losses.rdpo import rdpo
from tests.losses import cases

MASK = cases.mask()[[0, 1, 0]]  # chosen, rejected, chosen behind the retrieved image


def batch():
    return ImagePairBatch(None, jnp.asarray(cases.weight()), None)


def pair(logps, rivals=(None, None)):
    return ImagePair(
        cases.scores(logps[0], MASK[0]),
        *(cases.scores(logps[i], MASK[i], rival=rivals[i - 1]) for i in (1, 2)),
    )


def softplus(x):
    return np.logaddexp(0, x)


def test_hand_derived_value():
    # Log-ratios: chosen 2, rejected -1, chosen behind the retrieved image 0.5. Two terms, no anchor.
    policy = ImagePair(cases.totals(-1.0), cases.totals(-4.0), cases.totals(-1.5))
    reference = ImagePair(cases.totals(-3.0), cases.totals(-3.0), cases.totals(-2.0))
    mean, metrics = rdpo(policy, reference, ImagePairBatch(None, jnp.ones(1), None), beta=0.1)
    np.testing.assert_allclose(mean.value, softplus(-0.3) + softplus(-0.15), rtol=1e-6)
    np.testing.assert_allclose(metrics["rewards/corrupted"].value, 0.05, rtol=1e-5)


def test_value_and_gradient_equal_the_paper():
    policy, reference = cases.logps(MASK, 1), cases.logps(MASK, 2)

    def expected(x):
        chosen, rejected, retrieved = (x - reference).sum(-1)[:, :4]
        return (softplus(-0.3 * (chosen - rejected)) + softplus(-0.3 * (chosen - retrieved))).mean()

    cases.check(lambda x: rdpo(pair(x), pair(reference), batch(), beta=0.3)[0].value, expected, policy, MASK)


def test_value_and_gradient_equal_the_code():
    # Where something is rejected, the likeliest other token of each model counts; log-probabilities of the text that
    # is rejected, positions 1 and 2 of the first axis, get no gradient.
    mask = np.concatenate([MASK, MASK[1:]])
    policy, reference = cases.logps(mask, 1), cases.logps(mask, 2)

    def run(x):
        scores, fixed = pair(x[:3], x[3:]), pair(reference[:3], jnp.asarray(reference[3:]))
        return rdpo(scores, fixed, batch(), beta=0.3, form="code")[0].value

    def expected(x):
        ratio = (x - reference).sum(-1)[:, :4]
        return (softplus(-0.3 * (ratio[0] - ratio[3])) + softplus(-0.3 * (ratio[0] - ratio[4]))).mean()

    cases.check(run, expected, policy, mask)


def test_the_code_form_does_not_read_what_is_rejected():
    rivals = jnp.asarray(cases.logps(MASK[1:], 3))
    policy, reference = cases.logps(MASK, 1), pair(cases.logps(MASK, 2), rivals)
    value = rdpo(pair(policy, rivals), reference, batch(), form="code")[0].value
    garbage = dataclasses.replace(pair(policy, rivals), rejected=cases.scores(policy[1] - 9, MASK[1], rival=rivals[0]))
    assert rdpo(garbage, reference, batch(), form="code")[0].value == value
    assert rdpo.facts["statistics"] == ("rival",) and rdpo.facts["batch"].reads.views == ("corrupted",)


def test_another_form_is_an_error():
    with pytest.raises(ValueError, match="other"):
        rdpo(pair(MASK), pair(MASK), batch(), form="other")
