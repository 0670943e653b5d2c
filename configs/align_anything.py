"""Align-Anything (https://arxiv.org/abs/2412.15838): DPO of any modality.

    python experiments/train.py --config=configs/align_anything.py --workdir=runs/align_anything \\
        --config.init_from=llava-1.5-7b-hf --config.data.source.path=pairs.jsonl

Settings of the framework's own config for pictures (text_image_to_text/dpo.yaml). Recordings, videos and plain text
take the same config with another model. It has KTO (beta .1), ORPO (.5) and SimPO (2.5) for text, too:

    --config.loss="({'name': 'simpo', 'beta': 2.5},)" --config.reference=none
"""

from configs import common

ABOUT = common.About(
    system="Align-Anything",
    survey="6.4",
    paper="2412.15838",
    base_model="any; LLaVA-1.5 7B for pictures",
    modality="image",
    data="chosen, rejected",
    sources={
        "dpo.beta": "released script",
        "optimizer.learning_rate": "released script",
        "optimizer.weight_decay": "released script",
        "optimizer.warmup": "released script",
        "optimizer.schedule": "released script",
        "optimizer.b2": "released script",
        "frozen": "released script",
        "batch_size": "ours: not found",
        "steps": "ours: not found",
    },
    not_published="The config has 4 rows * 8 steps of accumulation for each device, 3 epochs; the number of devices "
    "was not found, 8 is ours, and so is the number of steps.",
    notes="The tower is trained and the projector is not.",
)


def get_config():
    config = common.published()
    config.batch_size = 256
    config.loss = (dict(name="dpo", beta=0.1),)
    config.frozen = ("^projector/",)
    config.optimizer.learning_rate = 5e-6
    config.optimizer.weight_decay = 0.01
    config.optimizer.warmup = 0.03
    config.optimizer.schedule = "cosine"
    config.optimizer.b2 = 0.95
    return config
