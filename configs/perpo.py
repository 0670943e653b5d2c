"""PerPO (https://arxiv.org/abs/2502.04371): pairs of ranked answers, by the gap of their rewards. Beyond the survey.

    python experiments/train.py --config=configs/perpo.py --workdir=runs/perpo \\
        --config.init_from=llava-1.5-7b-hf --config.data.source.path=ranked.jsonl

UNVERIFIED: of the paper only the abstract could be read; see align_jax/losses/perpo.py for the two forms that it
allows. A record has answers and the reward of each, such as an IoU, the best first:

    {"id": "1", "images": ["1.jpg"], "prompt": "Where is the dog?", "ranked": ["[1, 2, 8, 9]", "[2, 2, 5, 9]"],
     "scores": [0.9, 0.4]}
"""

from configs import common

ABOUT = common.About(
    system="PerPO",
    paper="2502.04371",
    base_model="not found",
    modality="image",
    data="ranked, scores",
    sources={
        "perpo.beta": "TRL default",
        "perpo.form": "ours: not found",
        "optimizer.learning_rate": "TRL default",
        "batch_size": "ours: not found",
        "steps": "ours: not found",
    },
    not_published="Everything but the idea is unverified.",
)


def get_config():
    config = common.published()
    config.loss = (dict(name="perpo", beta=0.1, form="weight"),)
    return config
