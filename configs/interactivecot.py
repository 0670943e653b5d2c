"""InteractiveCOT (https://openreview.net/forum?id=Y4iaDU4yMi): DPO on plans that an environment has scored.

    python experiments/train.py --config=configs/interactivecot.py --workdir=runs/interactivecot \\
        --config.init_from=llava-1.5-7b-hf --config.data.source.path=pairs.jsonl

Thoughts and actions of an agent in ALFWorld make a pair where the scores that the environment gives them differ. The
loop of acting and training is not here: pairs come from a file. No code and no setting of the training was found.
"""

from configs import common

ABOUT = common.About(
    system="InteractiveCOT",
    survey="3.3.3",
    paper="https://openreview.net/forum?id=Y4iaDU4yMi",
    base_model="not found",
    modality="image",
    data="chosen, rejected",
    sources={
        "dpo.beta": "TRL default",
        "optimizer.learning_rate": "TRL default",
        "batch_size": "ours: not found",
        "steps": "ours: not found",
    },
    not_published="No code; only the survey was read.",
)


def get_config():
    config = common.published()
    config.loss = (dict(name="dpo", beta=0.1),)
    return config
