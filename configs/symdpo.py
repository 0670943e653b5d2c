"""SymDPO (https://arxiv.org/abs/2411.11909): DPO on demonstrations whose answers are symbols.

    python experiments/train.py --config=configs/symdpo.py --workdir=runs/symdpo \\
        --config.init_from=llava-onevision-qwen2-7b-ov-hf --config.data.source.path=pairs.jsonl

In the demonstrations of a prompt, answers are replaced by symbols without meaning; the symbol whose picture fits is
chosen, so that demonstrations must be seen to be of use.
"""

from configs import common

ABOUT = common.About(
    system="SymDPO",
    survey="3.2.2",
    paper="2411.11909",
    base_model="OpenFlamingo 3B",
    modality="multi-image",
    data="chosen, rejected; several pictures",
    sources={
        "dpo.beta": "released script",
        "chosen_nll.weight": "released script",
        "optimizer.learning_rate": "released script",
        "batch_size": "ours: not found",
        "steps": "ours: not found",
    },
    not_published="Size of a batch was not found; the script runs one epoch.",
    notes="Trained with LoRA (r 64). The weight of the NLL is 1 in the script, 0 by default in the code.",
)


def get_config():
    config = common.published()
    config.steps = 156  # 1 epoch of 10,000 pairs
    config.loss = (dict(name="dpo", beta=0.1), dict(name="chosen_nll", weight=1.0))
    config.optimizer.learning_rate = 5e-6
    config.data.prompt_length = 4096
    return config
