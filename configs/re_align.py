"""rDPO (Re-Align, https://arxiv.org/abs/2502.13146): DPO between answers, and between a picture and one like it.

    python experiments/train.py --config=configs/re_align.py --workdir=runs/re_align \\
        --config.init_from=llava-v1.6-vicuna-7b-hf --config.data.source.path=pairs.jsonl

A similar picture is retrieved for each record. Segments of the chosen answer are masked, and filled in again while
looking at it: that is the rejected answer. The released trainer never scores it: --config.loss[0].form=code does as
it does.

    {"id": "1", "images": ["1.jpg"], "prompt": "Describe it.", "chosen": "A dog runs.", "rejected": "A dog sits.",
     "views": {"corrupted": ["similar_to_1.jpg"]}}
"""

from configs import common

ABOUT = common.About(
    system="rDPO (Re-Align)",
    survey="3.1.1",
    paper="2502.13146",
    base_model="LLaVA-1.6 7B",
    modality="image",
    data="chosen, rejected, views.corrupted",
    sources={
        "rdpo.beta": "released script",
        "rdpo.form": "paper",
        "optimizer.learning_rate": "released script",
        "optimizer.weight_decay": "released script",
        "optimizer.warmup": "released script",
        "optimizer.schedule": "released script",
        "batch_size": "released script",
        "steps": "ours: not found",
    },
    not_published="The number of records was not found; the script sets no number of epochs, and its trainer's "
    "default is 3.",
    notes="Trained with LoRA. A batch is 1 row * 8 steps of accumulation on 2 devices.",
)


def get_config():
    config = common.published()
    config.batch_size = 16
    config.loss = (dict(name="rdpo", beta=0.1, form="paper"),)
    config.optimizer.learning_rate = 1e-6
    config.optimizer.weight_decay = 0.0
    config.optimizer.warmup = 0.03
    config.optimizer.schedule = "cosine"
    config.data.prompt_length = 3072
    return config
