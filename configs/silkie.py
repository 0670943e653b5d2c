"""Silkie (VLFeedback, https://arxiv.org/abs/2312.10665): DPO on the answers of several models, rated by GPT-4V.

    python experiments/train.py --config=configs/silkie.py --workdir=runs/silkie \\
        --config.init_from=Qwen2.5-VL-7B-Instruct --config.data.source.path=pairs.jsonl

Each prompt has four answers, each of which is rated from 1 to 5 for helpfulness, faithfulness to the picture and
ethics. All pairs of a prompt whose mean ratings differ are used, the better one being chosen. The authors start from
Qwen-VL-Chat, for which there is no family here.
"""

from configs import common

ABOUT = common.About(
    system="Silkie",
    survey="3.1.2",
    paper="2312.10665",
    base_model="Qwen-VL-Chat",
    modality="image",
    data="chosen, rejected",
    sources={
        "dpo.beta": "released script",
        "optimizer.learning_rate": "released script",
        "optimizer.weight_decay": "released script",
        "optimizer.b2": "released script",
        "frozen": "released script",
        "batch_size": "ours: not found",
        "steps": "ours: not found",
    },
    not_published="Size of a batch, and number of pairs without ties, were not found.",
    notes="Trained with LoRA.",
)


def get_config():
    config = common.published()
    config.steps = 5643  # 3 epochs of 6 * 80,258 pairs, if none of them were a tie
    config.batch_size = 256
    config.loss = (dict(name="dpo", beta=0.1),)
    config.optimizer.learning_rate = 1e-5
    config.optimizer.weight_decay = 0.05
    config.optimizer.b2 = 0.98
    return config
