"""AdPO (https://arxiv.org/abs/2504.01735): a vision tower that adversarial pictures do not mislead.

    python experiments/train.py --config=configs/adpo.py --workdir=runs/adpo \\
        --config.init_from=llava-1.5-7b-hf --config.data.source.path=pairs.jsonl

The tower alone is trained, on a small model, and then put into larger ones. The chosen answer is the model's own to
the clean picture, the rejected one its own to an adversarial picture: the authors write both while they train, here
they come from a file; adversarial pictures are made in each step. A reader's notes on the paper, from which the
settings are, have two differences: the attack moves the tower's features away from those of the clean picture (here it
raises the NLL of the chosen answer), and the NLL's tokens are weighted by the model's confidence (here they are not).
"""

from configs import common

ABOUT = common.About(
    system="AdPO",
    survey="3.3.4",
    paper="2504.01735",
    base_model="CLIP ViT-L/14 with OpenELM 450M",
    modality="image",
    data="chosen, rejected",
    sources={
        "adpo.beta": "second hand",
        "adpo.lam": "second hand",
        "adpo.radius": "second hand",
        "adpo.steps": "second hand",
        "adpo.step_size": "ours: not found",
        "optimizer.learning_rate": "second hand",
        "optimizer.weight_decay": "second hand",
        "batch_size": "second hand",
        "steps": "second hand",
        "frozen": "second hand",
    },
    not_published="No code. Size of a step of the attack, and learning-rate schedule.",
    notes="Attack and NLL differ from the paper, see above; answers are not written anew in training.",
)


def get_config():
    config = common.published()
    config.steps = 20_018  # 2 epochs of ImageNet's 1,281,167 pictures
    config.batch_size = 128
    # A radius of 2/255, in pixels that were divided by CLIP's standard deviation of .27; ten steps of a quarter of it.
    config.loss = (dict(name="adpo", beta=0.1, lam=1.0, radius=0.029, step_size=0.00725, steps=10),)
    config.frozen = ("^projector/", "^decoder/")
    config.optimizer.learning_rate = 1e-5
    config.optimizer.weight_decay = 1e-4
    return config
