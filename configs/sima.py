"""SIMA (https://arxiv.org/abs/2405.15973): DPO between two answers of the model, which it judges itself.

    python experiments/train.py --config=configs/sima.py --workdir=runs/sima \\
        --config.init_from=llava-1.5-7b-hf --config.data.source.path=pairs.jsonl

One answer is greedy, the other sampled (temperature .8, top-p .9). The critic is the same model, which is shown the
true answer and three criteria: objects, relations and attributes.
"""

from configs import common

ABOUT = common.About(
    system="SIMA",
    survey="3.1.2",
    paper="2405.15973",
    base_model="LLaVA-1.5 7B",
    modality="image",
    data="chosen, rejected",
    sources={
        "dpo.beta": "TRL default",
        "optimizer.learning_rate": "released script",
        "batch_size": "ours: not found",
        "steps": "ours: not found",
    },
    not_published="Size of a batch and number of prompts were not found; the authors run 3 epochs.",
    notes="Trained with LoRA (r 128, alpha 256).",
)


def get_config():
    config = common.published()
    config.loss = (dict(name="dpo", beta=0.1),)
    config.optimizer.learning_rate = 1e-7
    return config
