"""POVID (https://arxiv.org/abs/2402.11411): DPO against what a noised picture makes the model say. Beyond the survey.

    python experiments/train.py --config=configs/povid.py --workdir=runs/povid \\
        --config.init_from=runs/povid_stage1 --config.data.source.path=pairs.jsonl

This is the second stage. The first is plain DPO (3 epochs, the same rate) on answers into which GPT-4V put
hallucinations: --config.loss="({'name': 'dpo', 'beta': 0.1},)".
"""

from configs import common

ABOUT = common.About(
    system="POVID",
    paper="2402.11411",
    base_model="LLaVA-1.5 7B",
    modality="image",
    data="chosen, rejected",
    sources={
        "povid.beta": "released script",
        "data.views.corrupted.step": "released script",
        "data.views.corrupted.clip": "released script",
        "optimizer.learning_rate": "released script",
        "batch_size": "ours: not found",
        "steps": "ours: not found",
    },
    not_published="Size of a batch was not found.",
    notes="Trained with LoRA (r 128, alpha 256).",
)


def get_config():
    config = common.published()
    config.steps = 266  # 1 epoch of 17,000 pairs
    config.loss = (dict(name="povid", beta=0.1),)
    config.optimizer.learning_rate = 1e-7
    config.data.views.corrupted = dict(name="corrupt:diffusion", step=500, space="pixel", clip="wrap")
    return config
