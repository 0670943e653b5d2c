"""Qwen2.5-VL (https://arxiv.org/abs/2502.13923): the DPO that ends its training.

    python experiments/train.py --config=configs/qwen2_5_vl.py --workdir=runs/qwen2_5_vl \\
        --config.init_from=Qwen2.5-VL-7B-Instruct --config.data.source.path=pairs.jsonl

The report says that pairs are of pictures and of plain text, that the tower is frozen, and that each pair is used
once: set `steps` to their number divided by `batch_size`. No other setting is published.
"""

from configs import common

ABOUT = common.About(
    system="Qwen2.5-VL",
    survey="3.1.2",
    paper="2502.13923",
    base_model="Qwen2.5-VL 3B to 72B, fine-tuned",
    modality="image",
    data="chosen, rejected; also without pictures",
    sources={
        "frozen": "paper",
        "dpo.beta": "TRL default",
        "optimizer.learning_rate": "TRL default",
        "batch_size": "ours: not published",
        "steps": "ours: not published",
    },
    not_published="beta, rate, batch, number of pairs.",
)


def get_config():
    config = common.published()
    config.loss = (dict(name="dpo", beta=0.1),)
    config.frozen = ("^vision/",)
    config.data.prompt_length = 2048
    config.data.completion_length = 512
    return config
