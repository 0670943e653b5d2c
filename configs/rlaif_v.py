"""RLAIF-V (https://arxiv.org/abs/2405.17220): DPO, in four rounds, on answers whose claims an open model has checked.

    python experiments/train.py --config=configs/rlaif_v.py --workdir=runs/rlaif_v/1 \\
        --config.init_from=llava-1.5-7b-hf --config.data.source.path=pairs1.jsonl

This is one round. The next one samples from its best checkpoint, which is its start and its reference. Ten answers to
each prompt are divided into claims; an answer's score is minus the number of claims that are not supported. Of all
pairs with different scores two are kept for each prompt, and then those that balance the lengths of both sides.
"""

from configs import common

ABOUT = common.About(
    system="RLAIF-V",
    survey="3.1.1",
    paper="2405.17220",
    base_model="LLaVA-1.5 7B",
    modality="image",
    data="chosen, rejected",
    sources={
        "dpo.beta": "released script",
        "optimizer.learning_rate": "released script",
        "optimizer.weight_decay": "released script",
        "optimizer.warmup": "released script",
        "optimizer.schedule": "released script",
        "steps": "released script",
        "batch_size": "ours: not found",
        "frozen": "ours: not found",
    },
    not_published="The script has one row for each device, on a number of devices that was not found; nor whether the "
    "tower is trained in what it calls full fine-tuning.",
    notes="Four rounds of four epochs, each from the checkpoint that was best on Object HalBench and MMHal.",
)


def get_config():
    config = common.published()
    config.steps = 2672
    config.batch_size = 8
    config.loss = (dict(name="dpo", beta=0.1),)
    config.optimizer.learning_rate = 5e-7
    config.optimizer.weight_decay = 0.01
    config.optimizer.warmup = 0.05
    config.optimizer.schedule = "cosine"
    return config
