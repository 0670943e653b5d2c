import jax.numpy as jnp
import numpy as np

from align_jax.losses.mdpo import ImagePair, ImagePairBatch, mdpo
from align_jax.types import Scores
from tests import tiny
from tests.losses import cases
from tests.losses.contract_test import batch_of


def scores(*totals):
    return Scores(jnp.asarray(totals, jnp.float32)[:, None], jnp.ones((len(totals), 1)))


def test_hand_derived_value():
    # Log-ratios: chosen 2, rejected -1, chosen behind the corrupted image 0.5; beta 0.1 and anchor 0.05.
    softplus = lambda x: np.log1p(np.exp(-x))  # noqa: E731
    expected = softplus(0.1 * 3) + softplus(0.1 * 1.5) + softplus(0.1 * 2 - 0.05)
    policy = ImagePair(scores(-1.0), scores(-4.0), scores(-1.5))
    reference = ImagePair(scores(-3.0), scores(-3.0), scores(-2.0))
    mean, metrics = mdpo(policy, reference, ImagePairBatch(None, jnp.ones(1), None), beta=0.1, anchor=0.05)
    np.testing.assert_allclose(mean.value, expected, rtol=1e-6)
    np.testing.assert_allclose(metrics["rewards/corrupted"].value, 0.05, rtol=1e-5)


def test_value_and_gradient_equal_the_paper():
    mask, weight = cases.mask(completions=3), jnp.asarray(cases.weight())
    policy, reference = cases.logps(mask, 1), cases.logps(mask, 2)

    def triple(logps):
        return ImagePair(*(cases.scores(logps[i], mask[i]) for i in range(3)))

    def ours(x):
        return mdpo(triple(x), triple(reference), ImagePairBatch(None, weight, None), beta=0.3, anchor=0.2)[0].value

    def theirs(x):
        chosen, rejected, corrupted = x.sum(-1) - np.float64(reference).sum(-1)
        terms = 0.3 * (chosen - rejected), 0.3 * (chosen - corrupted), 0.3 * chosen - 0.2
        return np.average(sum(np.log1p(np.exp(-term)) for term in terms), weights=weight)

    cases.check(ours, theirs, policy, mask)


def test_the_second_tree_holds_the_same_text_behind_the_corrupted_image():
    from align_jax.losses import Objective

    examples = tiny.examples(3)
    batch = batch_of(Objective.build({"name": "mdpo"}), examples, rows=4)
    pair, corrupted = batch.trees()
    np.testing.assert_array_equal(pair.targets[:, :1], corrupted.targets)
    np.testing.assert_array_equal(pair.prompt, corrupted.prompt)
    np.testing.assert_array_equal(corrupted.media.pixels[1], examples[1].views["corrupted"].media.pixels)
