"""HDPO (https://arxiv.org/abs/2411.10436): DPO on pairs that aim at three causes of hallucination.

    python experiments/train.py --config=configs/hdpo.py --workdir=runs/hdpo \\
        --config.init_from=llava-1.5-7b-hf --config.data.source.path=pairs.jsonl

Rejected answers are written without the picture's most attended tokens (distracted vision), or go on from an answer
whose last two sentences were cut (long context), or follow a text that contradicts the picture (conflict). No code is
released, and no setting of the training was found.
"""

from configs import common

ABOUT = common.About(
    system="HDPO",
    survey="3.1.1",
    paper="2411.10436",
    base_model="LLaVA (which one is unverified)",
    modality="image",
    data="chosen, rejected",
    sources={
        "dpo.beta": "TRL default",
        "optimizer.learning_rate": "TRL default",
        "batch_size": "ours: not found",
        "steps": "ours: not found",
    },
    not_published="No code; the three kinds of pairs are known from the survey and from notes.",
)


def get_config():
    config = common.published()
    config.loss = (dict(name="dpo", beta=0.1),)
    return config
