"""LLaVA-NeXT-Interleave (https://arxiv.org/abs/2407.07895): DPO on videos, with the pairs of LLaVA-Hound.

    python experiments/train.py --config=configs/llava_next_interleave.py --workdir=runs/llava_next_interleave \\
        --config.init_from=llava-onevision-qwen2-7b-ov-hf --config.data.source.path=pairs.jsonl

In those pairs ChatGPT scores the model's answers, with a detailed caption in place of the video: 3 or more out of 5 is
chosen, less is rejected. The trainer can add the NLL of the chosen answer; its weight is 0.
"""

from configs import common

ABOUT = common.About(
    system="LLaVA-NeXT-Interleave",
    survey="3.2.3",
    paper="2407.07895",
    base_model="LLaVA-NeXT-Interleave 7B",
    modality="video",
    data="chosen, rejected",
    sources={
        "dpo.beta": "released script",
        "optimizer.learning_rate": "released script",
        "batch_size": "ours: not found",
        "steps": "ours: not found",
    },
    not_published="Size of a batch was not found; the script runs 3 epochs.",
)


def get_config():
    config = common.published()
    config.steps = 797  # 3 epochs of 17,000 pairs
    config.loss = (dict(name="dpo", beta=0.1),)
    config.optimizer.learning_rate = 5e-7
    config.data.prompt_length = 4096
    return config
