import jax.numpy as jnp
import numpy as np
import pytest

from align_jax.losses import Objective
from align_jax.losses.mdpo import ImagePairBatch
from align_jax.types import Mean, Pair, PreferenceBatch
from configs import mpo
from tests.losses import cases


def test_every_term_of_a_mixture_keeps_its_denominator():
    objective = Objective.build([{"name": "dpo"}, {"name": "chosen_nll", "weight": 0.5}])
    means = Mean(jnp.asarray(6.0), jnp.asarray(3.0)), Mean(jnp.asarray(20.0), jnp.asarray(10.0))
    np.testing.assert_allclose(objective.value(means, [m.count for m in means]), 6 / 3 + 0.5 * 20 / 10)


def test_a_mixture_reads_the_most_special_batch():
    assert Objective.build([{"name": "chosen_nll"}, {"name": "mdpo"}]).batch is ImagePairBatch


@pytest.mark.parametrize(
    "terms, message",
    [
        ({"name": "dpo", "betta": 1.0}, "does not take betta; it takes: beta, label_smoothing"),
        ({"name": "dpoo"}, "nothing is called 'dpoo'.*dpo"),
        ([{"name": "sft"}, {"name": "dpo"}], "unrelated classes"),
        ([{"name": "dpo"}, {"name": "dpo"}], "each once"),
    ],
)
def test_a_wrong_objective_is_refused_with_what_would_be_right(terms, message):
    with pytest.raises(ValueError, match=message):
        Objective.build(terms)


def test_a_dotted_name_reaches_a_file_outside_of_the_package():
    assert Objective.build({"name": "align_jax.losses.dpo", "beta": 0.2}).losses[0].keywords == {"beta": 0.2}


def test_what_two_terms_measure_each_in_its_way_keeps_two_names():
    mask, weight = cases.mask(), cases.weight()
    scores = [cases.pair(cases.logps(mask, seed), mask) for seed in (1, 2)]
    batch = PreferenceBatch(None, jnp.asarray(weight))

    def margins(*terms):
        _, metrics, _ = Objective.build(terms)(*scores, batch, {})
        return {name: metric.value for name, metric in metrics.items() if "margins" in name}

    dpo, ipo = {"name": "dpo", "beta": 0.1}, {"name": "ipo", "beta": 0.5}
    both = margins(dpo, ipo)
    assert both == {"rewards/margins": margins(dpo)["rewards/margins"],
                    "ipo/rewards/margins": margins(ipo)["rewards/margins"]}  # fmt: skip


def test_an_objective_of_two_models_wants_two_that_score_the_same():
    with pytest.raises(ValueError, match="kl needs a reference"):
        Objective.build([{"name": "tests.losses.lonely"}])


def test_mpo_is_its_three_terms_by_their_weights():
    # Log-ratios: chosen -1 - (-2) = 1, rejected -3 - (-2) = -1; rewards .1 and -.1, so that BCO's shift is 0. BCO is
    # the sum of its two halves, and the NLL of the chosen token, 1, is added after the other two were mixed.
    objective = Objective.build(mpo.get_config().loss)
    policy, reference = (Pair(cases.totals(a), cases.totals(b)) for a, b in ((-1.0, -3.0), (-2.0, -2.0)))
    means, _, memory = objective(policy, reference, PreferenceBatch(None, jnp.ones(1)), objective.memory())
    softplus = lambda x: np.log1p(np.exp(x))  # noqa: E731
    expected = 0.8 * softplus(-0.2) + 0.2 * (softplus(-0.1) + softplus(-0.1)) + 1.0
    np.testing.assert_allclose(objective.value(means, [mean.count for mean in means]), expected, rtol=1e-6)
    assert memory["bco"].count == 2
