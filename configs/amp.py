"""AMP (https://arxiv.org/abs/2405.11165): DPO over all pairs of ranked answers. Beyond the survey.

    python experiments/train.py --config=configs/amp.py --workdir=runs/amp \\
        --config.init_from=llava-1.5-7b-hf --config.data.source.path=ranked.jsonl

A record has up to four answers, the best first:

    {"id": "1", "images": ["1.jpg"], "prompt": "Describe it.", "ranked": ["A dog runs.", "A dog.", "A cat runs."]}
"""

from configs import common

ABOUT = common.About(
    system="AMP",
    paper="2405.11165",
    base_model="LLaVA-1.5 7B",
    modality="image",
    data="ranked",
    sources={
        "amp.beta": "released script",
        "amp.penalty": "released script",
        "optimizer.learning_rate": "released script",
        "steps": "released script",
        "batch_size": "ours: not found",
    },
    not_published="Size of a batch was not found.",
    notes="Trained with LoRA on a base of 4 bits, whose rate is too high for all weights: try 1e-6.",
)


def get_config():
    config = common.published()
    config.steps = 3000
    config.loss = (dict(name="amp", beta=0.1, penalty=1.0),)
    config.optimizer.learning_rate = 5e-5
    return config
