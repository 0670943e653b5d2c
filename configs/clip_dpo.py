"""CLIP-DPO (https://arxiv.org/abs/2408.10433): DPO on captions that CLIP has ranked.

    python experiments/train.py --config=configs/clip_dpo.py --workdir=runs/clip_dpo \\
        --config.init_from=llava-1.5-7b-hf --config.data.source.path=pairs.jsonl

Small models write captions and answers; CLIP's similarity of picture and text ranks them, and rules on length and on
the gap between two scores filter the pairs. No code is released, and no setting of the training was found.
"""

from configs import common

ABOUT = common.About(
    system="CLIP-DPO",
    survey="3.1.2",
    paper="2408.10433",
    base_model="MobileVLM-v2, LLaVA-1.5",
    modality="image",
    data="chosen, rejected",
    sources={
        "dpo.beta": "TRL default",
        "optimizer.learning_rate": "TRL default",
        "batch_size": "ours: not found",
        "steps": "ours: not found",
    },
    not_published="No code; of the paper the abstract and summaries were read, none of which has a setting.",
)


def get_config():
    config = common.published()
    config.loss = (dict(name="dpo", beta=0.1),)
    return config
