"""DAMA (https://arxiv.org/abs/2502.01943): DPO whose beta follows the pair's hardness and the model's margins.

    python experiments/train.py --config=configs/dama.py --workdir=runs/dama \\
        --config.init_from=llava-1.5-7b-hf --config.data.source.path=pairs.jsonl

A record has a number, `clip_gap`: the CLIP score of the statements of the chosen answer less that of the rejected
one's. The mean over the data set (`dama.mean_gap`) is that of the authors' 22,000 pairs of RLAIF-V; other data need
their own.
"""

from configs import common

ABOUT = common.About(
    system="DAMA",
    survey="3.1.1",
    paper="2502.01943",
    base_model="LLaVA-1.5 7B, 13B",
    modality="image",
    data="chosen, rejected, clip_gap",
    sources={
        "dama.beta": "released script",
        "dama.mean_gap": "released script",
        "dama.filter_ratio": "released script",
        "dama.decay": "released script",
        "optimizer.learning_rate": "released script",
        "optimizer.warmup": "released script",
        "batch_size": "released script",
        "steps": "released script",
    },
    not_published="How the gap is computed is known from a summary of the algorithm alone.",
)


def get_config():
    config = common.published()
    config.steps = 5500  # 4 epochs of 22,000 pairs
    config.batch_size = 16
    config.loss = (dict(name="dama", beta=0.1, mean_gap=0.0482190464911681, filter_ratio=0.2, decay=0.9),)
    config.optimizer.learning_rate = 5e-7
    config.optimizer.warmup = 0.1
    return config
