"""HSA-DPO (https://arxiv.org/abs/2404.14233): severe hallucinations weigh more. Beyond the survey.

    python experiments/train.py --config=configs/hsa_dpo.py --workdir=runs/hsa_dpo \\
        --config.init_from=llava-1.5-13b-hf --config.data.source.path=pairs.jsonl

A record has a number, `rejected_score`: how severe the hallucinations of its rejected answer are.
"""

from configs import common

ABOUT = common.About(
    system="HSA-DPO",
    paper="2404.14233",
    base_model="LLaVA-1.5 13B",
    modality="image",
    data="chosen, rejected, rejected_score",
    sources={
        "hsa_dpo.beta": "released script",
        "optimizer.learning_rate": "released script",
        "optimizer.weight_decay": "released script",
        "optimizer.warmup": "released script",
        "optimizer.schedule": "released script",
        "frozen": "released script",
        "batch_size": "released script",
        "steps": "ours: not found",
    },
    not_published="The number of pairs was not found; the script runs 2 epochs.",
    notes="Trained with LoRA (r 128, alpha 256).",
)


def get_config():
    config = common.published()
    config.batch_size = 16
    config.loss = (dict(name="hsa_dpo", beta=0.1),)
    config.frozen = ("^vision/", "^projector/")
    config.optimizer.learning_rate = 2e-6
    config.optimizer.weight_decay = 0.0
    config.optimizer.warmup = 0.0
    config.optimizer.schedule = "cosine"
    return config
