"""HA-DPO (https://arxiv.org/abs/2311.16839): DPO on answers that GPT-4 has corrected, both sides in one style.

    python experiments/train.py --config=configs/ha_dpo.py --workdir=runs/ha_dpo \\
        --config.init_from=llava-1.5-7b-hf --config.data.source.path=pairs.jsonl

Settings of LLaVA-1.5. InstructBLIP has a learning rate of 4e-6. MiniGPT-4 has 1e-4 for 1,000 steps, and the NLL of
plain texts (records without a rejected answer) with a weight of .5 besides:

    --config.loss="({'name': 'dpo', 'beta': 0.1}, {'name': 'text_nll', 'weight': 0.5})"
"""

from configs import common

ABOUT = common.About(
    system="HA-DPO",
    survey="3.1.1",
    paper="2311.16839",
    base_model="LLaVA-1.5 7B, MiniGPT-4, InstructBLIP",
    modality="image",
    data="chosen, rejected",
    sources={
        "dpo.beta": "released script",
        "optimizer.learning_rate": "released script",
        "batch_size": "ours: not found",
        "steps": "ours: not found",
    },
    not_published="Size of a batch and number of pairs were not found; the script runs one epoch.",
    notes="Trained with LoRA (r 128, alpha 256).",
)


def get_config():
    config = common.published()
    config.loss = (dict(name="dpo", beta=0.1),)
    config.optimizer.learning_rate = 2e-6
    return config
