"""f-DPO: other divergences than reverse KL to the reference. Wang et al. 2023, https://arxiv.org/abs/2309.16240."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.nn import log_sigmoid

from align_jax.losses.base import loss
from align_jax.losses.dpo import log_ratio, preference_metrics
from align_jax.types import Mean, Metrics, Pair, PreferenceBatch, Scores

LIMIT = 80.0  # of exponents: exp(80) and its multiples are finite in float32


@loss(batch=PreferenceBatch)
def f_dpo(
    policy: Pair[Scores],
    reference: Pair[Scores],
    batch: PreferenceBatch,
    *,
    beta: float = 0.1,
    divergence: str = "reverse_kl",
    alpha: float = 0.5,
) -> tuple[Mean, Metrics]:
    """DPO with f'(u), u = pi(y|x) / pi_ref(y|x), in place of the log-ratio log u.

    | divergence | f'(u), up to a constant that cancels |
    |---|---|
    | reverse_kl | log u, which is DPO |
    | forward_kl | 1 - 1/u |
    | js | log(2u / (1 + u)) |
    | alpha | (1 - u^-alpha) / alpha |

    Of the last row, alpha near 0 is reverse KL, and near 1 forward KL. TRL's coefficient is 1 - alpha; at its default
    0.5 the two agree. That the paper's parameter is the one of this table is unverified; the divergences are the same.

    Args:
      policy: scores f32[B, R] of both completions.
      reference: the same under the reference model.
      batch: weights rows.
      beta: as in DPO.
      divergence: a row of the table.
      alpha: of the alpha-divergence.

    Raises:
      ValueError: unknown divergence, or `alpha` outside (0, 1).
    """
    score = link(divergence, alpha)
    chosen = beta * score(log_ratio(policy.chosen, reference.chosen))
    rejected = beta * score(log_ratio(policy.rejected, reference.rejected))
    metrics = preference_metrics(policy, chosen, rejected, batch.weight)
    return Mean.of(-log_sigmoid(chosen - rejected), batch.weight), metrics


def link(divergence: str, alpha: float) -> Callable[[jax.Array], jax.Array]:
    """The function from log u f32[B] to f'(u) f32[B]."""
    if not 0 < alpha < 1:
        raise ValueError(f"alpha lies between 0 (reverse KL) and 1 (forward KL), both left out; got {alpha}")

    def power(log_u: jax.Array, a: float) -> jax.Array:  # (1 - u^-a) / a, exact near u = 1
        return -jnp.expm1(jnp.minimum(-a * log_u, LIMIT)) / a

    links = {
        "reverse_kl": lambda log_u: log_u,
        "forward_kl": lambda log_u: power(log_u, 1.0),
        "js": lambda log_u: math.log(2) + log_sigmoid(log_u),
        "alpha": lambda log_u: power(log_u, alpha),
    }
    if divergence not in links:
        raise ValueError(f"divergence is one of {', '.join(links)}, not {divergence!r}")
    return links[divergence]
