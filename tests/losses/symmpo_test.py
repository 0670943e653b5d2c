import jax.numpy as jnp
import numpy as np

from align_jax.losses import Objective
from align_jax.losses.symmpo import SymmetricBatch, SymmetricPair, symmpo
from tests import tiny
from tests.losses import cases
from tests.losses.contract_test import batch_of

MASK = cases.mask(completions=3)[[0, 1, 2, 2, 0]]  # y1|I1, y1l|I1, y2|I1, y2|I2, y1|I2


def pair(logps, mask=MASK):
    return SymmetricPair(*(cases.scores(logps[i], mask[i]) for i in range(5)))


def softplus(x):
    return np.logaddexp(0, x)


def test_hand_derived_value():
    # Log-ratios: r11 = 2, rejected -1, r12 = 0.5, r22 = 3, r21 = 1. D1 = 1.5, D2 = 2, so (D1 - D2)^2 = 0.25.
    policy = SymmetricPair(*map(cases.totals, (-1.0, -4.0, -2.5, -1.0, -2.0)))
    reference = SymmetricPair(*map(cases.totals, (-3.0, -3.0, -3.0, -4.0, -3.0)))
    mean, metrics = symmpo(policy, reference, SymmetricBatch(None, jnp.ones(1), None), other_beta=0.2, consistency=0.1)
    pairs = softplus(-0.3) + 0.5 * (softplus(-0.15) + softplus(-0.2))
    anchors = softplus(-0.2) + softplus(-0.2 * 3)
    np.testing.assert_allclose(mean.value, pairs + anchors + 0.1 * 0.25, rtol=1e-6)
    np.testing.assert_allclose(metrics["rewards/image_margins"].value, 0.15, rtol=1e-5)
    np.testing.assert_allclose(metrics["rewards/other_image_margins"].value, 0.2, rtol=1e-5)


def test_value_and_gradient_equal_the_formula():
    policy, reference = cases.logps(MASK, 1), cases.logps(MASK, 2)
    batch = SymmetricBatch(None, jnp.asarray(cases.weight()), None)

    def expected(x):
        r11, r1l, r12, r22, r21 = (x - reference).sum(-1)[:, :4]
        d1, d2 = r11 - r12, r22 - r21
        value = softplus(-0.3 * (r11 - r1l)) + 0.7 * (softplus(-0.3 * d1) + softplus(-0.3 * d2))
        return (value + softplus(-0.3 * r11) + softplus(-0.2 * r22) + 0.01 * (d1 - d2) ** 2).mean()

    hyper = dict(beta=0.3, other_beta=0.2, lam=0.7, consistency=0.01)
    cases.check(lambda x: symmpo(pair(x), pair(reference), batch, **hyper)[0].value, expected, policy, MASK)


def test_defaults_are_the_released_ones():
    policy, reference = cases.logps(MASK, 1), cases.logps(MASK, 2)
    batch = SymmetricBatch(None, jnp.asarray(cases.weight()), None)
    given = symmpo(pair(policy), pair(reference), batch, beta=0.1, other_beta=0.1, lam=0.5, consistency=1e-4)
    assert symmpo(pair(policy), pair(reference), batch)[0].value == given[0].value


def test_each_good_answer_stands_behind_both_images():
    examples = tiny.examples(3)
    for example in examples:
        example.completions["other_chosen"] = example.completions["rejected"][::-1]
    batch = batch_of(Objective.build({"name": "symmpo"}), examples, rows=4)
    one, two = batch.trees()
    np.testing.assert_array_equal(one.targets[:, [2, 0]], two.targets)
    np.testing.assert_array_equal(one.media.pixels[1], examples[1].prompt.media.pixels)
    np.testing.assert_array_equal(two.media.pixels[1], examples[1].views["other"].media.pixels)
    number = lambda first, tree: first + jnp.arange(tree.mask.shape[1] * 1.0)[None, :, None] + 0 * tree.mask  # noqa: E731
    found = batch.group(tuple(cases.scores(number(n, tree), tree.mask) for n, tree in ((0, one), (3, two))))
    names = ("chosen", "rejected", "crossed", "other_chosen", "other_crossed")
    assert [float(getattr(found, name).logps[0, 0]) for name in names] == [0, 1, 2, 3, 4]
