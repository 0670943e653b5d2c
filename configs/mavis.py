"""MAVIS (https://arxiv.org/abs/2407.08739): DPO between annotated and own reasoning about mathematical figures.

    python experiments/train.py --config=configs/mavis.py --workdir=runs/mavis \\
        --config.init_from=llava-1.5-7b-hf --config.data.source.path=pairs.jsonl

Of the fine-tuned model's reasoning on 582,000 generated problems, the 88,000 with a wrong answer are rejected; the
annotated reasoning is chosen. This is the last of four stages, and has the settings of the second. No training code is
released.
"""

from configs import common

ABOUT = common.About(
    system="MAVIS",
    survey="3.3.2",
    paper="2407.08739",
    base_model="Mammoth2 7B with CLIP-Math (ViT-L)",
    modality="image",
    data="chosen, rejected",
    sources={
        "dpo.beta": "TRL default",
        "optimizer.learning_rate": "paper",
        "batch_size": "paper",
        "steps": "paper",
        "frozen": "paper",
    },
    not_published="beta.",
    notes="Trained with LoRA (r 128), and nothing else moves.",
)


def get_config():
    config = common.published()
    config.steps = 2750  # 1 epoch of 88,000 pairs
    config.batch_size = 32
    config.loss = (dict(name="dpo", beta=0.1),)
    config.frozen = ("^vision/", "^projector/")
    config.optimizer.learning_rate = 2e-6
    config.data.completion_length = 512
    return config
