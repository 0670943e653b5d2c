"""xGen-MM (BLIP-3, https://arxiv.org/abs/2408.08872): DPO on VLFeedback after fine-tuning.

    python experiments/train.py --config=configs/xgen_mm.py --workdir=runs/xgen_mm \\
        --config.init_from=llava-1.5-7b-hf --config.data.source.path=pairs.jsonl

Of the four answers to a prompt, the one with the best mean score is chosen and the one with the worst rejected. As a
reader summarises it, a second step takes what the model says to a noised picture as another rejected answer, as POVID
does: configs/povid.py. Safety is tuned afterwards, on VLGuard: configs/vlguard.py.
"""

from configs import common

ABOUT = common.About(
    system="xGen-MM (BLIP-3)",
    survey="3.1.1",
    paper="2408.08872",
    base_model="BLIP-3 4B with Phi-3",
    modality="image",
    data="chosen, rejected",
    sources={
        "dpo.beta": "TRL default",
        "optimizer.learning_rate": "TRL default",
        "batch_size": "ours: not found",
        "steps": "second hand",
    },
    not_published="beta, rate and batch were not found. The paper's later version, which was read, has no DPO.",
    notes="Trained with LoRA on a part of the decoder.",
)


def get_config():
    config = common.published()
    config.steps = 978  # 1 epoch of 62,600 pairs
    config.loss = (dict(name="dpo", beta=0.1),)
    return config
