"""VLGuard (https://arxiv.org/abs/2402.02207): fine-tuning on safe answers; there is no preference in it.

    python experiments/train.py --config=configs/vlguard.py --workdir=runs/vlguard \\
        --config.init_from=llava-1.5-7b-hf --config.data.source.path=safety.jsonl

2,000 pictures: an unsafe one has one refused instruction; a safe one has a safe instruction, which is answered, and an
unsafe one, which is refused. They are mixed into the fine-tuning, or tuned on afterwards together with as many useful
answers. The authors use LLaVA's own scripts. Records need `chosen` alone.
"""

from configs import common

ABOUT = common.About(
    system="VLGuard",
    survey="3.3.4",
    paper="2402.02207",
    base_model="LLaVA-1.5 7B, 13B, MiniGPT-v2",
    modality="image",
    data="chosen",
    sources={
        "reference": "paper",
        "optimizer.learning_rate": "ours: not found",
        "optimizer.warmup": "ours: not found",
        "batch_size": "ours: not found",
        "steps": "ours: not found",
    },
    not_published="The settings are those of LLaVA-1.5's own fine-tuning, from memory; one epoch after the "
    "fine-tuning, with as many useful answers, is ours.",
)


def get_config():
    config = common.published()
    config.steps = 47  # 1 epoch of 2,977 answers, and as many useful ones
    config.batch_size = 128
    config.loss = (dict(name="sft"),)
    config.reference = "none"
    config.optimizer.learning_rate = 2e-5
    config.optimizer.warmup = 0.03
    return config
