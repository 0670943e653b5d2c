"""PDS-DPO (https://arxiv.org/abs/2412.17417): DPO on generated pictures, ranked by reward models.

    python experiments/train.py --config=configs/pds_dpo.py --workdir=runs/pds_dpo \\
        --config.init_from=llava-1.5-7b-hf --config.data.source.path=pairs.jsonl

Of several pictures that Stable Diffusion paints, the one that ImageReward likes best is kept; of the answers about it,
ArmoRM says which is chosen and which rejected.
"""

from configs import common

ABOUT = common.About(
    system="PDS-DPO",
    survey="3.1.2",
    paper="2412.17417",
    base_model="LLaVA-1.5 7B",
    modality="image",
    data="chosen, rejected",
    sources={
        "dpo.beta": "TRL default",
        "optimizer.learning_rate": "released script",
        "optimizer.weight_decay": "released script",
        "optimizer.warmup": "released script",
        "optimizer.schedule": "released script",
        "batch_size": "released script",
        "steps": "released script",
    },
    notes="Trained with LoRA (r 128, alpha 256), whose rate is too high for all weights: try 1e-6. The projector has "
    "a rate of its own there, 2e-5.",
)


def get_config():
    config = common.published()
    config.steps = 9000  # 2 epochs of 9,000 pairs
    config.batch_size = 2
    config.loss = (dict(name="dpo", beta=0.1),)
    config.optimizer.learning_rate = 1e-5
    config.optimizer.weight_decay = 0.0
    config.optimizer.warmup = 0.03
    config.optimizer.schedule = "cosine"
    return config
