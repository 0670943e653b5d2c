"""PPLLaVA (https://arxiv.org/abs/2411.02327): DPO on videos of any length.

    python experiments/train.py --config=configs/ppllava.py --workdir=runs/ppllava \\
        --config.init_from=llava-onevision-qwen2-7b-ov-hf --config.data.source.path=pairs.jsonl

Pairs are those of LLaVA-Hound, see configs/llava_next_interleave.py. The authors pool a video's tokens by what the
prompt asks for, which is not here.
"""

from configs import common

ABOUT = common.About(
    system="PPLLaVA",
    survey="3.2.3",
    paper="2411.02327",
    base_model="PPLLaVA with Vicuna 7B",
    modality="video",
    data="chosen, rejected",
    sources={
        "dpo.beta": "released script",
        "optimizer.learning_rate": "released script",
        "batch_size": "ours: not found",
        "steps": "ours: not found",
    },
    not_published="The script has 2 rows * 4 steps of accumulation for each device, 2 epochs; the number of devices "
    "was not found, 8 is ours.",
    notes="Without the authors' pooling. The decoder is trained whole.",
)


def get_config():
    config = common.published()
    config.steps = 531  # 2 epochs of 17,000 pairs
    config.loss = (dict(name="dpo", beta=0.1),)
    config.optimizer.learning_rate = 5e-6
    config.data.prompt_length = 4096
    return config
