"""HomieBot (EMMOE, https://arxiv.org/abs/2503.08604): DPO on plans of a robot at home.

    python experiments/train.py --config=configs/emmoe.py --workdir=runs/emmoe \\
        --config.init_from=llava-onevision-qwen2-7b-ov-hf --config.data.source.path=pairs.jsonl

10,000 pairs come from 3,700 examples of fine-tuning: the plan's order, its action or its model of the action is
changed in what is rejected (these three ways are from memory).
"""

from configs import common

ABOUT = common.About(
    system="EMMOE / HomieBot",
    survey="3.3.3",
    paper="2503.08604",
    base_model="a language model for videos",
    modality="video",
    data="chosen, rejected",
    sources={
        "dpo.beta": "released script",
        "optimizer.learning_rate": "released script",
        "optimizer.clip_norm": "released script",
        "batch_size": "released script",
        "steps": "released script",
        "data.prompt_length": "released script",
    },
    not_published="How exactly plans are changed.",
)


def get_config():
    config = common.published()
    config.steps = 625  # 1 epoch of 10,000 pairs
    config.batch_size = 16
    config.loss = (dict(name="dpo", beta=0.1),)
    config.optimizer.learning_rate = 6e-6
    config.optimizer.clip_norm = 0.3
    config.data.prompt_length = 1792  # 2,048 tokens, answer included
    return config
