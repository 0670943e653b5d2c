"""Methods without pairs or without a reference, against TRL's own code, in float64.

TRL 1.16 has no BCO trainer any more: both forms of BCO are compared with what TRL 0.24 computes, written out here from
its formula in PyTorch. Its present `bco_pair`, without a shift, is compared where DPO is.
"""

from collections import defaultdict
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from align_jax.losses.bco import bco, no_rewards
from align_jax.losses.bco_unpaired import bco_unpaired
from align_jax.losses.chosen_nll import chosen_nll
from align_jax.losses.cpo import cpo
from align_jax.losses.kto import Mismatched, MismatchedBatch, kto
from align_jax.losses.orpo import orpo
from align_jax.losses.simpo import simpo
from align_jax.losses.unpaired import UnpairedBatch
from align_jax.types import PreferenceBatch
from tests.losses import cases

pytestmark = pytest.mark.parity
torch = pytest.importorskip("torch")
pytest.importorskip("trl")

MASK = cases.mask(completions=3)
POLICY, REFERENCE = cases.logps(MASK, 1, 0.7), cases.logps(MASK, 2, 0.7)
WEIGHT = jnp.asarray(cases.weight())
ROWS = 4  # the fifth is padding, which TRL does not have
PAIRS = PreferenceBatch(None, WEIGHT)
ON_CPU = SimpleNamespace(device=torch.device("cpu"), gather_for_metrics=lambda x: x)


def check(ours, theirs, completions=3):
    """Compares value and gradient; `theirs` is given log-probabilities of the real rows, f64[completions, 4, R]."""
    policy = POLICY[:completions]
    value, gradient = jax.value_and_grad(ours)(jnp.asarray(policy))
    leaf = torch.tensor(policy[:, :ROWS], dtype=torch.float64, requires_grad=True)
    expected = theirs(leaf)
    expected.backward()
    np.testing.assert_allclose(value, expected.item(), rtol=1e-5, atol=1e-5)
    there = MASK[:completions, :ROWS]
    np.testing.assert_allclose(gradient[:, :ROWS] * there, leaf.grad.numpy() * there, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(gradient[:, ROWS:], 0)


def pair(policy):
    return cases.pair(policy, MASK)


def means(policy):
    return policy.sum(-1) / torch.tensor(MASK[: len(policy), :ROWS].sum(-1))


def token_mean_nll(policy):
    return -policy[0].sum() / MASK[0, :ROWS].sum()


def test_orpo():
    orpo_trainer = pytest.importorskip("trl.experimental.orpo.orpo_trainer")
    trainer = SimpleNamespace(beta=0.3, accelerator=ON_CPU)

    def odds(policy):  # subtracted from the NLL in `get_batch_loss_metrics`
        return -orpo_trainer.ORPOTrainer.odds_ratio_loss(trainer, *means(policy))[0].mean()

    check(lambda p: orpo(pair(p), None, PAIRS, lambda_=0.3, nll=False)[0].value, odds, 2)
    check(lambda p: orpo(pair(p), None, PAIRS, lambda_=0.3)[0].value, lambda p: odds(p) - means(p)[0].mean(), 2)

    def mixture(policy):
        terms = orpo(pair(policy), None, PAIRS, lambda_=0.3, nll=False)[0], chosen_nll(pair(policy), None, PAIRS)[0]
        return terms[0].value + terms[1].value

    # TRL's reduction of the NLL, over completions alone.
    check(mixture, lambda policy: odds(policy) + token_mean_nll(policy), 2)


def cpo_loss(loss_type, policy, **hyper):
    cpo_trainer = pytest.importorskip("trl.experimental.cpo.cpo_trainer")
    trainer = SimpleNamespace(alpha=0.0, loss_type=loss_type, label_smoothing=0.0, accelerator=ON_CPU, **hyper)
    return cpo_trainer.CPOTrainer.cpo_loss(trainer, *policy)[0].mean()


def test_cpo():
    def preference(policy):
        return cpo_loss("sigmoid", policy.sum(-1), beta=0.2)

    check(lambda p: cpo(pair(p), None, PAIRS, beta=0.2, alpha=0.0)[0].value, preference, 2)
    whole = lambda p: preference(p) - 0.7 * p[0].sum(-1).mean()  # noqa: E731
    check(lambda p: cpo(pair(p), None, PAIRS, beta=0.2, alpha=0.7)[0].value, whole, 2)

    def mixture(policy):
        terms = cpo(pair(policy), None, PAIRS, beta=0.2, alpha=0.0)[0], chosen_nll(pair(policy), None, PAIRS)[0]
        return terms[0].value + 0.7 * terms[1].value

    check(mixture, lambda policy: preference(policy) + 0.7 * token_mean_nll(policy), 2)


def test_simpo():
    def theirs(policy):
        return cpo_loss("simpo", means(policy), beta=2.5, simpo_gamma=1.4)

    check(lambda p: simpo(pair(p), None, PAIRS, beta=2.5, gamma=1.4)[0].value, theirs, 2)


@pytest.mark.parametrize("sign", [1, -1], ids=["z0 above 0", "z0 clamped"])
def test_kto(sign):
    """Runs TRL's whole step on a model that answers with the log-probabilities of the case."""
    from trl.trainer.kto_trainer import KTOTrainer

    label = [True, False, False, True]
    answer = [0 if good else 1 for good in label]  # of each row, the completion that TRL's example has
    reference = POLICY + sign * np.abs(POLICY - REFERENCE) * np.array([1, 1, -1], np.float32)[:, None, None]
    ratio = (POLICY - reference)[2, :ROWS].sum(-1).mean()
    assert ratio * sign > 0
    tokens = torch.ones(ROWS, MASK.shape[-1] + 1, dtype=torch.long)
    mask = torch.cat([torch.zeros(ROWS, 1), torch.ones(ROWS, MASK.shape[-1])], 1)

    def take(logps):
        return torch.stack([logps[k, row] for row, k in enumerate(answer)])

    def theirs(policy):
        def model(input_ids, **_):  # token 2 marks the mismatched pass
            logps = policy[2] if input_ids[0, 0] == 2 else take(policy)
            zeros = torch.zeros_like(logps)
            return SimpleNamespace(log_probs=logps, entropy=zeros, mean_logits=zeros)

        of_reference = torch.tensor(reference[:, :ROWS], dtype=torch.float64).sum(-1)
        trainer = SimpleNamespace(
            model=SimpleNamespace(training=True),
            accelerator=ON_CPU,
            aux_loss_enabled=False,
            precompute_ref_logps=True,
            calculate_KL=True,
            loss_type="kto",
            beta=0.3,
            desirable_weight=0.7,
            undesirable_weight=1.3,
            _metrics={"train": defaultdict(list)},
            _total_train_tokens=0,
            _tp_size=1,
        )
        trainer._compute_kl_logps = lambda model, batch: KTOTrainer._compute_kl_logps(trainer, model, batch)
        inputs = dict(
            input_ids=tokens,
            attention_mask=tokens,
            completion_mask=mask,
            KL_input_ids=2 * tokens,
            KL_attention_mask=tokens,
            KL_completion_mask=mask,
            label=torch.tensor(label),
            ref_logps=take(of_reference),
            ref_KL_logps=of_reference[2],
        )
        loss = KTOTrainer._compute_loss(trainer, model, inputs, return_outputs=False)
        np.testing.assert_allclose(trainer._metrics["train"]["kl"], max(ratio, 0), rtol=1e-5, atol=1e-6)
        return loss

    present = np.zeros((ROWS + 1, 2), np.float32)
    present[np.arange(ROWS), answer] = 1
    batch = MismatchedBatch(None, WEIGHT, jnp.asarray(present))

    def group(logps):
        return Mismatched(*(cases.scores(logps[k], MASK[k]) for k in range(3)))

    hyper = dict(beta=0.3, desirable_weight=0.7, undesirable_weight=1.3)
    check(lambda policy: kto(group(policy), group(reference), batch, **hyper)[0].value, theirs)


def rewards(policy):
    return 0.3 * (policy - torch.tensor(REFERENCE[:2, :ROWS], dtype=torch.float64)).sum(-1)


def bco_losses(chosen, rejected, delta):
    log_sigmoid = torch.nn.functional.logsigmoid
    return -log_sigmoid(chosen - delta), -log_sigmoid(-(rejected - delta))


def test_bco_pair_of_a_second_step():
    _, _, memory = bco(pair(REFERENCE), pair(POLICY), PAIRS, no_rewards(), beta=0.3)
    first = -rewards(torch.tensor(POLICY[:2, :ROWS])).mean()  # the first step has policy and reference exchanged

    def theirs(policy):
        chosen, rejected = rewards(policy)
        delta = (first + torch.cat([chosen, rejected]).mean().detach()) / 2  # cumulative mean over two equal steps
        return sum(bco_losses(chosen, rejected, delta)).mean()

    check(lambda policy: bco(pair(policy), pair(REFERENCE), PAIRS, memory, beta=0.3)[0].value, theirs, 2)


def test_bco_unpaired():
    present = np.array([[1, 0], [0, 1], [1, 1], [1, 0], [1, 1]], np.float32)
    there = torch.tensor(present[:ROWS].T) > 0

    def theirs(policy):
        chosen, rejected = rewards(policy)
        chosen, rejected = chosen[there[0]], rejected[there[1]]
        return torch.cat(bco_losses(chosen, rejected, torch.cat([chosen, rejected]).mean().detach())).mean()

    batch = UnpairedBatch(None, WEIGHT, jnp.asarray(present))
    ours = lambda p: bco_unpaired(pair(p), pair(REFERENCE), batch, no_rewards(), beta=0.3)[0].value  # noqa: E731
    check(ours, theirs, 2)
