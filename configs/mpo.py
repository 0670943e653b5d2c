"""MPO (InternVL, https://arxiv.org/abs/2411.10442): DPO, BCO and the NLL of the chosen answer at once.

    python experiments/train.py --config=configs/mpo.py --workdir=runs/mpo \\
        --config.init_from=InternVL3-8B-hf --config.data.source.path=pairs.jsonl

Where an answer can be checked, a right reasoning is chosen over a wrong one; elsewhere the rejected answer is the
first half of the chosen one, which the model continued without the picture. The rate is that of InternVL2 8B;
InternVL2.5 8B has 1e-6, InternVL3 8B 2e-7. Everything is trained, the tower too.
"""

from configs import common

ABOUT = common.About(
    system="MPO (InternVL)",
    survey="3.1.2",
    paper="2411.10442",
    base_model="InternVL2 8B",
    modality="image",
    data="chosen, rejected",
    sources={
        "dpo.beta": "released script",
        "dpo.weight": "released script",
        "bco.beta": "released script",
        "bco.weight": "released script",
        "chosen_nll.weight": "released script",
        "chosen_nll.reduction": "released script",
        "optimizer.learning_rate": "released script",
        "optimizer.weight_decay": "released script",
        "optimizer.warmup": "released script",
        "batch_size": "released script",
        "frozen": "released script",
        "steps": "ours: not found",
    },
    not_published="The number of pairs is from memory: about 3 million in MMPR, of which the script runs one epoch.",
    notes="Drop-path of .1 in the tower there, none here.",
)


def get_config():
    config = common.published()
    config.steps = 11_700
    config.batch_size = 256
    config.loss = (
        dict(name="dpo", weight=0.8, beta=0.1),
        dict(name="bco", weight=0.2, beta=0.1),
        dict(name="chosen_nll", weight=1.0, reduction="token"),
    )
    config.frozen = ()
    config.optimizer.learning_rate = 5e-6
    config.optimizer.weight_decay = 0.05
    config.optimizer.warmup = 0.03
    config.data.prompt_length = 4096  # a picture in 12 tiles and a thumbnail takes 3,328
    config.data.completion_length = 1024
    return config
