"""Divergence from the reference on plain texts: the second term of HALVA. Sarkar et al. 2024,
https://arxiv.org/abs/2405.18654."""

from align_jax.losses.base import loss
from align_jax.losses.texts import PairsAndTextsBatch
from align_jax.types import Mean, Metrics, Pair, Scores


@loss(batch=PairsAndTextsBatch, statistics=("kl",))
def reference_kl(policy: Pair[Scores], reference: Pair[Scores], batch: PairsAndTextsBatch) -> tuple[Mean, Metrics]:
    """KL(reference : policy) over the whole vocabulary, summed over the tokens of each text, averaged over texts.

    HALVA weighs it .4 (LLaVA-1.5 7B), .5 (13B) or .2 (VILA-13B), as its released scripts do.

    Args:
      policy: scores; of a text, `chosen.kl` f32[B, R] holds the divergence at each position.
      reference: not read here, but needed for the divergence.
      batch: tells texts from pairs, which do not count.
    """
    mean = Mean.of(policy.chosen.kl.sum(-1), batch.text_weight)
    return mean, {"kl": Mean.of(policy.chosen.kl, policy.chosen.mask * batch.text_weight[:, None])}
