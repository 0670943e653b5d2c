"""HALVA (https://arxiv.org/abs/2405.18654): correct phrases against hallucinated ones. Beyond the survey.

    python experiments/train.py --config=configs/halva.py --workdir=runs/halva \\
        --config.init_from=llava-1.5-7b-hf --config.data.source.path=phrases.jsonl

Records are of two kinds: answers with a phrase in the place of each other, and plain fine-tuning data, from which the
model must not depart:

    {"id": "1", "images": ["1.jpg"], "prompt": "Describe it.", "chosen": "A dog runs.", "rejected": "A cat runs.",
     "spans": {"chosen": [{"start": 2, "end": 5}], "rejected": [{"start": 2, "end": 5}]}}
    {"id": "2", "images": ["2.jpg"], "prompt": "What is it?", "chosen": "A cup."}

The weight of the second term is that of LLaVA-1.5 7B; 13B has .5, VILA-13B .2.
"""

from configs import common

ABOUT = common.About(
    system="HALVA",
    paper="2405.18654",
    base_model="LLaVA-1.5 7B",
    modality="image",
    data="chosen, rejected, spans of both; also texts with chosen alone",
    sources={
        "reference_kl.weight": "released script",
        "optimizer.learning_rate": "released script",
        "optimizer.weight_decay": "released script",
        "optimizer.warmup": "released script",
        "optimizer.schedule": "released script",
        "frozen": "released script",
        "batch_size": "ours: not found",
        "steps": "ours: not found",
    },
    not_published="The script has 4 rows * 4 steps of accumulation for each device, one epoch; numbers of devices and "
    "of records were not found.",
    notes="Trained with LoRA (r 128, alpha 256).",
)


def get_config():
    config = common.published()
    config.loss = (dict(name="halva"), dict(name="reference_kl", weight=0.4))
    config.frozen = ("^vision/", "^projector/")
    config.optimizer.learning_rate = 5e-6
    config.optimizer.weight_decay = 0.0
    config.optimizer.warmup = 0.03
    config.optimizer.schedule = "cosine"
    return config
