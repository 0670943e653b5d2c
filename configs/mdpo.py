"""mDPO (https://arxiv.org/abs/2406.11839): the chosen answer must also owe its likelihood to the picture.

    python experiments/train.py --config=configs/mdpo.py --workdir=runs/mdpo \
        --config.init_from=runs/quickstart/sft --config.data.source.path=pairs.jsonl

The paper crops 1 to 20 % of the picture's area, has beta 0.1 and a learning rate of 1e-5 with LoRA at 3 B parameters.
These are settings for the quickstart's model. For one as large as the paper's, which has no NLL: --config.steps=938
(3 epochs of 10,000 pairs of VLFeedback) --config.batch_size=32 --config.optimizer.learning_rate=1e-6
--config.compute.dtype=bfloat16 --config.compute.remat=true --config.loss="({'name': 'mdpo', 'beta': 0.1},)"
--config.data.prompt_length=1024 --config.data.completion_length=256
"""

from configs import common

ABOUT = common.About(
    system="mDPO",
    survey="3.1.1",
    paper="2406.11839",
    base_model="Bunny 3B, LLaVA-1.5 7B",
    modality="image",
    data="chosen, rejected",
    sources={
        "mdpo.beta": "released script",
        "mdpo.anchor": "released script",
        "data.views.corrupted.scale": "released script",
        "chosen_nll.weight": "ours: not published",
        "optimizer.learning_rate": "ours: not published",
        "batch_size": "released script",
        "steps": "ours: not published",
    },
    notes="For the quickstart's model, hence NLL and rate. The authors train with LoRA (r 64, alpha 128) at 1e-5.",
)


def get_config():
    config = common.base()
    config.steps = 200
    config.loss = (dict(name="mdpo", beta=0.1, anchor=0.0), dict(name="chosen_nll", weight=0.5))
    config.data.views.corrupted = dict(name="corrupt:random_crop", scale=(0.01, 0.2))
    config.data.source = dict(name="jsonl", path="")
    return config
