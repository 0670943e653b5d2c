"""Preference optimization of CLIP (https://arxiv.org/abs/2411.08923): words written into a picture are no label.

    python experiments/train.py --config=configs/contrastive_po.py --workdir=runs/contrastive_po \\
        --config.init_from=clip-vit-base-patch32 --config.data.source.path=attacked.jsonl

`init_from` is a Hugging Face folder on disk: config.json, *.safetensors, tokenizer and processor files. A record has
the attacked picture, the clean one, the true label, what the attack says, and two to eight other labels:

    {"prompt": "<image>", "images": ["dog_attacked.png"], "views": {"clean": ["dog.png"]},
     "chosen": "a photo of a dog", "rejected": "a photo of a bus", "ranked": ["a photo of a cat", "a photo of a cup"]}

The authors train all of CLIP ViT-B/32 with Adamax, and pick from all 100 classes. Other kinds of preference loss are
"ipo" and "kto", each with a beta and lambda of its own:

    --config.loss="({'name': 'contrastive_po', 'kind': 'kto'},)"
"""

from configs import common

ABOUT = common.About(
    system="PO (contrastive)",
    survey="3.3.4",
    paper="2411.08923",
    base_model="CLIP ViT-B/32",
    modality="image",
    data="chosen, rejected, ranked, views.clean",
    sources={
        "contrastive_po.kind": "released script",
        "optimizer.learning_rate": "released script",
        "batch_size": "released script",
        "steps": "released script",
        "frozen": "released script",
    },
)


def get_config():
    config = common.base()
    config.steps = 600  # 3 epochs of 100,000 pictures
    config.batch_size = 512
    config.loss = (dict(name="contrastive_po", kind="dpo"),)
    config.frozen = ()
    config.optimizer.learning_rate = 2e-5
    config.data.prompt_length = 0  # the prompt is its picture
    config.data.completion_length = 76  # what CLIP has room for; most labels need 10
    config.data.media_items = 1
    config.data.source = dict(name="jsonl", path="")
    return config
