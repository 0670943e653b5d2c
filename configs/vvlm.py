"""Image DPO (vVLM / ViLP, https://arxiv.org/abs/2501.00569): one answer, a good and a worse picture.

    python experiments/train.py --config=configs/vvlm.py --workdir=runs/vvlm \\
        --config.init_from=llava-1.5-7b-hf --config.data.source.path=pictures.jsonl

A record needs no rejected answer, but a worse picture: an edit, a blur or a pixelation of the right one.

    {"id": "1", "images": ["1.jpg"], "prompt": "What is it?", "chosen": "A dog.",
     "views": {"corrupted": ["1_edited.jpg"]}}

Pictures and questions are generated, with the model itself. To blur all pictures while they are read, put
dict(name="corrupt:blur", radius=40.0) into `data.views.corrupted`; the authors' script has 40, and 16 for pixelation.
"""

from configs import common

ABOUT = common.About(
    system="Image DPO (vVLM)",
    survey="3.1.2",
    paper="2501.00569",
    base_model="LLaVA-1.5 7B",
    modality="image",
    data="chosen, views.corrupted",
    sources={
        "image_dpo.beta": "released script",
        "optimizer.learning_rate": "released script",
        "optimizer.warmup": "released script",
        "optimizer.weight_decay": "released script",
        "optimizer.schedule": "released script",
        "frozen": "released script",
        "batch_size": "ours: not found",
        "steps": "ours: not found",
    },
    not_published="The script (ViLP-team/ImageDPO) has 12 rows for each device, one epoch; the number of devices was "
    "not found, 8 is ours.",
    notes="Trained with LoRA (r 128, alpha 256).",
)


def get_config():
    config = common.published()
    config.steps = 833  # 1 epoch of the 80,000 pairs that the script is for
    config.batch_size = 96
    config.loss = (dict(name="image_dpo", beta=0.5),)
    config.frozen = ("^vision/", "^projector/")
    config.optimizer.learning_rate = 5e-7
    config.optimizer.warmup = 0.03
    config.optimizer.weight_decay = 0.0
    config.optimizer.schedule = "cosine"
    return config
