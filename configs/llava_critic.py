"""LLaVA-Critic (https://arxiv.org/abs/2410.02712): DPO, in three rounds, on answers that a trained critic has scored.

    python experiments/train.py --config=configs/llava_critic.py --workdir=runs/llava_critic/1 \\
        --config.init_from=llava-onevision-qwen2-7b-ov-hf --config.data.source.path=pairs1.jsonl

This is one round of one epoch. Five answers are sampled (temperature .7, top-p .9), and the critic's best is chosen
over its worst; the policy of a round is the start and the reference of the next.
"""

from configs import common

ABOUT = common.About(
    system="LLaVA-Critic",
    survey="3.1.2",
    paper="2410.02712",
    base_model="LLaVA-OneVision 7B, 72B",
    modality="image",
    data="chosen, rejected",
    sources={
        "dpo.beta": "released script",
        "optimizer.learning_rate": "released script",
        "batch_size": "ours: not found",
        "steps": "ours: not found",
    },
    not_published="Size of a batch and number of prompts were not found.",
    notes="The script's weight of the NLL of the chosen answer is 0: left out.",
)


def get_config():
    config = common.published()
    config.loss = (dict(name="dpo", beta=0.1),)
    config.optimizer.learning_rate = 5e-7
    config.data.prompt_length = 8192  # a picture in tiles takes up to 7,300 tokens
    config.data.completion_length = 512
    return config
