"""OPA-DPO (https://arxiv.org/abs/2501.09695): DPO on revised answers, after fine-tuning on them.

    python experiments/train.py --config=configs/opa_dpo.py --workdir=runs/opa_dpo \\
        --config.init_from=runs/opa --config.data.source.path=revised.jsonl

This is the second stage. The first fine-tunes on true and revised answers (the loss `sft`), and gives both the start
and the reference. A record has the true answer, the model's own, and what GPT-4V made of that, with the parts that it
changed:

    {"id": "1", "images": ["1.jpg"], "prompt": "Describe it.", "chosen": "A dog runs.", "rejected": "A cat sits.",
     "answers": {"revised": "A dog sits."}, "spans": {"revised": [{"start": 2, "end": 5, "label": 2.5}]}}

Labels are weights (1, 1.5, 2, 2.5 for a score of 4, 3, 2, 1), or "image_recognition_error".
"""

from configs import common

ABOUT = common.About(
    system="OPA-DPO",
    survey="3.1.1",
    paper="2501.09695",
    base_model="LLaVA-1.5 7B, 13B",
    modality="image",
    data="chosen, rejected, answers.revised, spans.revised",
    sources={
        "opa_dpo.beta": "released script",
        "opa_dpo.image_weight": "released script",
        "opa_dpo.image_error_weight": "released script",
        "opa_dpo.anchor": "released script",
        "opa_dpo.anchor_weight": "released script",
        "opa_dpo.form": "ours: not found",
        "data.views.corrupted.share": "released script",
        "data.views.corrupted.grid": "ours: not found",
        "optimizer.learning_rate": "released script",
        "batch_size": "released script",
        "steps": "ours: not found",
    },
    not_published="The paper's formula was not read: ours sums over tokens, the released code does not (form='code'). "
    "4,800 records are from memory.",
    notes="Trained with LoRA.",
)


def get_config():
    config = common.published()
    config.steps = 600  # 4 epochs of 4,800 records
    config.batch_size = 32
    config.loss = (
        dict(
            name="opa_dpo",
            beta=0.1,
            image_weight=0.2,
            image_error_weight=3.0,
            anchor=0.0,
            anchor_weight=1.0,
            form="sequence",
        ),
    )
    config.optimizer.learning_rate = 1e-6
    config.data.views.corrupted = dict(name="corrupt:mask", grid=24, share=0.3)
    return config
