"""RLHF-V (https://arxiv.org/abs/2312.00849): dense DPO on answers that people have corrected.

    python experiments/train.py --config=configs/rlhf_v.py --workdir=runs/rlhf_v \\
        --config.init_from=llava-1.5-7b-hf --config.data.source.path=RLHF-V-Dataset.parquet

The data set is read as published (openbmb/RLHF-V-Dataset, CC BY-NC 4.0). These are the paper's settings. The released
script has beta .1, gamma 1.1, no division by the sum of the weights, and 2,160 steps: the two are not comparable. For
the quickstart's model: configs/dense_dpo.py.
"""

from configs import common

ABOUT = common.About(
    system="RLHF-V (DDPO)",
    survey="3.1.1",
    paper="2312.00849",
    base_model="Muffin 13B",
    modality="image",
    data="chosen, rejected, one corrected into the other",
    sources={
        "dense_dpo.beta": "paper",
        "dense_dpo.gamma": "paper",
        "dense_dpo.normalize": "paper",
        "optimizer.learning_rate": "paper",
        "batch_size": "paper",
        "steps": "paper",
        "frozen": "ours: not found",
    },
    not_published="What of the model is trained.",
    notes="Pictures of 448 pixels there, those of the model here. Muffin has no family here.",
)


def get_config():
    config = common.published()
    config.steps = 1254  # 7 epochs of the 5,733 pairs that are published now
    config.batch_size = 32
    config.loss = (dict(name="dense_dpo", beta=0.5, gamma=5.0, normalize=True),)
    config.optimizer.learning_rate = 5e-7
    config.data.source = dict(name="rlhf_v", path="")
    return config
