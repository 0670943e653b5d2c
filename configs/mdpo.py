"""mDPO (https://arxiv.org/abs/2406.11839): the chosen answer must also owe its likelihood to the picture.

    python experiments/train.py --config=configs/mdpo.py --workdir=runs/mdpo \
        --config.init_from=runs/quickstart/sft --config.data.source.path=pairs.jsonl

The paper crops 1 to 20 % of the picture's area, has beta 0.1 and a learning rate of 1e-5 with LoRA at 3 B parameters.
"""

from configs import common


def get_config():
    config = common.base()
    config.steps = 200
    config.loss = (dict(name="mdpo", beta=0.1, anchor=0.0), dict(name="chosen_nll", weight=0.5))
    config.data.views.corrupted = dict(name="corrupt:random_crop", scale=(0.01, 0.2))
    config.data.source = dict(name="jsonl", path="")
    return config
