"""SQuBa (https://openreview.net/forum?id=zOMa82W1HV): DPO on summaries of speech.

    python experiments/train.py --config=configs/squba.py --workdir=runs/squba \\
        --config.init_from=Qwen2-Audio-7B-Instruct --config.data.source.path=pairs.jsonl

The reference summary of the fine-tuning data is chosen, the model's own is rejected. The authors' model is a Mamba,
which is not here; no code and no setting of the training was found.
"""

from configs import common

ABOUT = common.About(
    system="SQuBa",
    survey="3.2.5",
    paper="https://openreview.net/forum?id=zOMa82W1HV",
    base_model="a Mamba with querying attention",
    modality="audio",
    data="chosen, rejected",
    sources={
        "dpo.beta": "TRL default",
        "optimizer.learning_rate": "TRL default",
        "batch_size": "ours: not found",
        "steps": "ours: not found",
    },
    not_published="No code; only an abstract and the survey were read.",
    notes="Without the authors' model this is their recipe alone.",
)


def get_config():
    config = common.published()
    config.loss = (dict(name="dpo", beta=0.1),)
    return config
