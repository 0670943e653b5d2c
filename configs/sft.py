"""Supervised fine-tuning on the scenes' captions and questions: the model that the quickstart aligns.

    python experiments/train.py --config=configs/sft.py --workdir=runs/sft \
        --config.data.source.data_dir=runs/quickstart/data/scenes/...

One minute on two CPU cores.
"""

from configs import common

ABOUT = common.About(
    system="SFT",
    paper="",
    base_model="none: from scratch",
    modality="image",
    data="chosen",
    sources=dict.fromkeys(("optimizer.learning_rate", "batch_size", "steps"), "ours: not published"),
)


def get_config():
    config = common.base()
    config.steps = 200
    config.batch_size = 128
    config.loss = (dict(name="sft"),)
    config.reference = "none"
    config.optimizer.learning_rate = 2e-3
    config.optimizer.weight_decay = 0.01
    config.data.source = dict(
        name="scenes", data_dir="", split="sft", kinds=dict(caption=1.0, existence=2.0, official=2.0)
    )
    return config
