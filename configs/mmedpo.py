"""MMedPO (https://arxiv.org/abs/2412.06141): medical pairs, weighted by their clinical relevance. Beyond the survey.

    python experiments/train.py --config=configs/mmedpo.py --workdir=runs/mmedpo \\
        --config.init_from=llava-1.5-7b-hf --config.data.source.path=pairs.jsonl

A record has a number, `relevance`, from 0 to 1. The authors' second kind of pair, one answer behind a picture whose
lesion is noise, is not here; align_jax/preferences/corrupt.py makes such pictures (`lesion`).
"""

from configs import common

ABOUT = common.About(
    system="MMedPO",
    paper="2412.06141",
    base_model="LLaVA-Med-1.5 7B",
    modality="image",
    data="chosen, rejected, relevance",
    sources={
        "mmedpo.beta": "released script",
        "optimizer.learning_rate": "released script",
        "batch_size": "ours: not found",
        "steps": "ours: not found",
    },
    not_published="Size of a batch was not found; the authors run 3 epochs.",
    notes="Trained with LoRA (r 128, alpha 256).",
)


def get_config():
    config = common.published()
    config.loss = (dict(name="mmedpo", beta=0.1),)
    config.optimizer.learning_rate = 1e-7
    return config
