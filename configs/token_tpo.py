"""TPO (https://arxiv.org/abs/2412.14487): DPO whose tokens weigh what they owe to the picture. Beyond the survey.

    python experiments/train.py --config=configs/token_tpo.py --workdir=runs/token_tpo \\
        --config.init_from=llava-1.5-7b-hf --config.data.source.path=RLHF-V-Dataset.parquet

The authors' rate falls to 1e-9, ours to 0.
"""

from configs import common

ABOUT = common.About(
    system="TPO (token preference)",
    paper="2412.14487",
    base_model="LLaVA-1.5 7B",
    modality="image",
    data="chosen, rejected",
    sources={
        "token_tpo.beta": "released script",
        "data.views.corrupted.step": "released script",
        "optimizer.learning_rate": "released script",
        "batch_size": "ours: not found",
        "steps": "ours: not found",
    },
    not_published="The paper's formula was not read: this is the code's. The script has 2 rows for each device; the "
    "number of devices was not found, 8 is ours.",
)


def get_config():
    config = common.published()
    config.steps = 1433  # 4 epochs of the 5,733 pairs of RLHF-V
    config.batch_size = 16
    config.loss = (dict(name="token_tpo", beta=0.1),)
    config.optimizer.learning_rate = 5e-8
    config.data.source = dict(name="rlhf_v", path="")
    config.data.views.corrupted = dict(name="corrupt:diffusion", step=500)
    return config
