"""Pairwise losses against TRL's DPOTrainer: its own `_compute_loss` runs, on a model that returns fixed tensors."""

from collections import defaultdict
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from align_jax import losses
from align_jax.types import Pair, PreferenceBatch
from tests.losses import cases

pytestmark = pytest.mark.parity
torch = pytest.importorskip("torch")
trl = pytest.importorskip("trl")

SETTINGS = dict(
    beta=0.1,
    label_smoothing=0.0,
    f_divergence_type="reverse_kl",
    f_alpha_divergence_coef=0.5,
    ld_alpha=None,
    use_weighting=False,
    aux_loss_enabled=False,
    precompute_ref_logps=False,
    _total_train_tokens=0,
    _tp_size=1,
)


class FixedModel(torch.nn.Module):
    """What TRL's fused head returns, from given tensors [2 * B, R]."""

    is_gradient_checkpointing = False

    def __init__(self, log_probs, log_sum_sq_probs):
        super().__init__()
        unread = torch.zeros_like(log_probs)
        self.outputs = SimpleNamespace(
            log_probs=log_probs,
            log_sum_sq_probs=log_sum_sq_probs,
            entropy=unread,
            mean_logits=unread,
            is_top1=unread.bool(),
        )

    def forward(self, **_):
        return self.outputs


def trl_loss(loss_type, policy, reference, mask, collision, tau=0.05, **settings):
    """TRL's value, gradient [2, B, R] with regard to the policy's log-probabilities, and metrics."""

    def stacked(x):  # [2, B, R] -> [2 * B, R]: chosen, then rejected
        return torch.tensor(np.asarray(x).reshape(-1, x.shape[-1]))

    log_probs = stacked(policy).requires_grad_()
    model, ref_model = (FixedModel(x, stacked(collision)) for x in (log_probs, stacked(reference)))
    completion_mask = torch.nn.functional.pad(stacked(mask), (1, 0)).long()  # behind a prompt of one token
    trainer = SimpleNamespace(
        **SETTINGS | settings,
        loss_types=[loss_type],
        loss_weights=[1.0],
        model=model,
        ref_model=ref_model,
        accelerator=SimpleNamespace(device="cpu", gather=lambda x: x, gather_for_metrics=lambda x: x),
        args=SimpleNamespace(gradient_checkpointing_kwargs=None, discopop_tau=tau),
        _metrics=defaultdict(lambda: defaultdict(list)),
    )
    inputs = dict(
        input_ids=torch.ones_like(completion_mask),
        attention_mask=torch.ones_like(completion_mask),
        completion_mask=completion_mask,
    )
    value = trl.DPOTrainer._compute_loss(trainer, model, inputs, return_outputs=False)
    value.backward()
    metrics = {name: values[0] for name, values in trainer._metrics["train"].items()}
    return value.item(), log_probs.grad.numpy().reshape(policy.shape), metrics


def compare(name, hyper, loss_type, settings, rewards=True, scale=2.0):
    """One of our losses, on a batch with a row of padding, with TRL's on the rows that count."""
    mask, weight = cases.mask(), cases.weight()
    policy, reference = cases.logps(mask, scale=scale), cases.logps(mask, seed=2, scale=scale)
    collision = cases.logps(mask, seed=3, scale=1.0)
    rows = weight > 0
    expected, slope, expected_metrics = trl_loss(
        loss_type, *(x[:, rows] for x in (policy, reference, mask, collision)), **settings
    )

    (loss,) = losses.Objective.build({"name": name, **hyper}).losses
    batch = PreferenceBatch(None, jnp.asarray(weight))
    memory = (loss.facts["memory"](),) if loss.facts["memory"] else ()

    def ours(p):
        scored = Pair(*(cases.scores(p[i], mask[i], collision=jnp.asarray(collision[i])) for i in range(2)))
        mean, metrics = loss(scored, cases.pair(reference, mask), batch, *memory)[:2]
        return mean.value, metrics

    (value, metrics), gradient = jax.value_and_grad(ours, has_aux=True)(jnp.asarray(policy))
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    # Masked positions hold no policy: TRL's mask and our zeros keep them out before the loss.
    np.testing.assert_allclose((gradient * mask)[:, rows], slope * mask[:, rows], rtol=1e-5, atol=1e-6)
    assert (gradient[:, ~rows] == 0).all() and np.abs(slope).max() > 1e-3
    for key in ("rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies") if rewards else ():
        np.testing.assert_allclose(metrics[key].value, expected_metrics[key], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "name, hyper, loss_type, settings",
    [
        ("dpo", dict(beta=0.1), "sigmoid", dict(beta=0.1)),
        ("dpo", dict(beta=0.5), "sigmoid", dict(beta=0.5)),
        ("hinge", dict(beta=0.1), "hinge", dict(beta=0.1)),
        ("hinge", dict(beta=0.5), "hinge", dict(beta=0.5)),
        ("exo", dict(beta=0.1), "exo_pair", dict(label_smoothing=1e-3)),
        ("exo", dict(beta=0.5, label_smoothing=0.2), "exo_pair", dict(beta=0.5, label_smoothing=0.2)),
        ("nca", dict(beta=0.1), "nca_pair", dict(beta=0.1)),
        ("robust_dpo", dict(label_smoothing=0.1), "robust", dict(label_smoothing=0.1)),
        ("robust_dpo", dict(beta=0.5, label_smoothing=0.3), "robust", dict(beta=0.5, label_smoothing=0.3)),
        ("sppo", dict(beta=0.1, reduction="sum"), "sppo_hard", dict(beta=0.1)),
        ("aot", dict(beta=0.1), "aot", dict(beta=0.1)),
        ("aot", dict(beta=0.5, label_smoothing=0.2), "aot", dict(beta=0.5, label_smoothing=0.2)),
        ("aot_unpaired", dict(beta=0.1), "aot_unpaired", dict(beta=0.1)),
        ("aot_unpaired", dict(beta=0.5, label_smoothing=0.2), "aot_unpaired", dict(beta=0.5, label_smoothing=0.2)),
        ("apo_zero", dict(beta=0.1), "apo_zero", dict(beta=0.1)),
        ("apo_down", dict(beta=0.1), "apo_down", dict(beta=0.1)),
        ("discopop", dict(beta=0.1), "discopop", dict(beta=0.1)),
        ("discopop", dict(beta=0.1, tau=0.3), "discopop", dict(beta=0.1, tau=0.3)),
    ],
)
def test_loss_type(name, hyper, loss_type, settings):
    compare(name, hyper, loss_type, settings)


def test_bco_pair():
    pytest.importorskip("align_jax.losses.bco")
    compare("bco", dict(beta=0.1, shift=False), "bco_pair", dict(beta=0.1))


@pytest.mark.parametrize(
    "name, hyper, loss_type, settings",
    [
        ("ipo", dict(beta=0.1), "ipo", dict(beta=0.1)),
        ("ipo", dict(beta=0.5, reduction="token"), "ipo", dict(beta=0.5)),
        ("sigmoid_norm", dict(beta=0.1), "sigmoid_norm", dict(beta=0.1)),
        ("sigmoid_norm", dict(beta=5.0), "sigmoid_norm", dict(beta=5.0)),
        ("chosen_nll", dict(), "sft", dict()),
    ],
)
def test_loss_type_over_tokens(name, hyper, loss_type, settings):
    # TRL reports rewards that are summed over tokens, where we report those that the loss compares.
    compare(name, hyper, loss_type, settings, rewards=False)


@pytest.mark.parametrize("beta", [0.1, 0.5])
@pytest.mark.parametrize(
    "hyper, settings",
    [
        (dict(divergence="reverse_kl"), dict(f_divergence_type="reverse_kl")),
        (dict(divergence="forward_kl"), dict(f_divergence_type="forward_kl")),
        (dict(divergence="js"), dict(f_divergence_type="js_divergence")),
        (dict(divergence="alpha"), dict(f_divergence_type="alpha_divergence")),
        # TRL's coefficient is 1 minus the paper's alpha.
        (dict(divergence="alpha", alpha=0.8), dict(f_divergence_type="alpha_divergence", f_alpha_divergence_coef=0.2)),
    ],
)
def test_f_divergence(beta, hyper, settings):
    compare("f_dpo", dict(beta=beta, **hyper), "sigmoid", dict(beta=beta, **settings), rewards=False, scale=0.4)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_ld_alpha(alpha):
    compare("ld_dpo", dict(beta=0.1, alpha=alpha), "sigmoid", dict(beta=0.1, ld_alpha=alpha))


@pytest.mark.parametrize("beta", [0.1, 0.5])
def test_use_weighting(beta):
    compare("wpo", dict(beta=beta), "sigmoid", dict(beta=beta, use_weighting=True))
