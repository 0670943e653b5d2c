"""Supervised fine-tuning."""

from align_jax.losses.base import loss
from align_jax.types import CompletionBatch, Mean, Metrics, Scores


@loss(batch=CompletionBatch, needs_reference=False)
def sft(policy: Scores, reference: None, batch: CompletionBatch) -> tuple[Mean, Metrics]:
    """Negative log-likelihood of the completion, averaged over all tokens of the batch (nats per token)."""
    return Mean.of(-policy.logps, policy.mask * batch.weight[:, None]), {
        "logps/chosen": Mean.of(policy.total, batch.weight),
    }
