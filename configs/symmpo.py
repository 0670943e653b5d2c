"""SymMPO (https://arxiv.org/abs/2506.11712): two similar pictures, each preferring its own answer. Beyond the survey.

    python experiments/train.py --config=configs/symmpo.py --workdir=runs/symmpo \\
        --config.init_from=llava-1.5-7b-hf --config.data.source.path=pairs.jsonl

A record has another picture, and what is right about that one:

    {"id": "1", "images": ["1.jpg"], "prompt": "Describe it.", "chosen": "A dog runs.", "rejected": "A cat runs.",
     "views": {"other": ["2.jpg"]}, "answers": {"other_chosen": "A dog sits."}}
"""

from configs import common

ABOUT = common.About(
    system="SymMPO",
    paper="2506.11712",
    base_model="LLaVA-1.5 7B",
    modality="image",
    data="chosen, rejected, views.other, answers.other_chosen",
    sources={
        "symmpo.beta": "released script",
        "symmpo.other_beta": "released script",
        "symmpo.lam": "released script",
        "symmpo.consistency": "released script",
        "optimizer.learning_rate": "released script",
        "steps": "released script",
        "batch_size": "ours: not found",
    },
    not_published="The script accumulates 8 steps; rows and devices were not found, and the batch is ours.",
)


def get_config():
    config = common.published()
    config.steps = 670
    config.loss = (dict(name="symmpo", beta=0.1, other_beta=0.1, lam=0.5, consistency=1e-4),)
    config.optimizer.learning_rate = 5e-6
    return config
