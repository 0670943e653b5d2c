"""V-DPO (https://arxiv.org/abs/2411.02712): DPO of a policy that is guided by the picture. Beyond the survey.

    python experiments/train.py --config=configs/v_dpo.py --workdir=runs/v_dpo \\
        --config.init_from=llava-1.5-7b-hf --config.data.source.path=pairs.jsonl

The picture of no picture is a tensor of zeros there: after normalisation that is the mean colour, of which 115 is the
nearest gray. The released script passes a gamma of 0, with which the loss has no gradient: see
align_jax/losses/v_dpo.py.
"""

from configs import common

ABOUT = common.About(
    system="V-DPO",
    paper="2411.02712",
    base_model="LLaVA-1.5 7B",
    modality="image",
    data="chosen, rejected",
    sources={
        "v_dpo.beta": "released script",
        "v_dpo.gamma": "ours: not found",
        "data.views.corrupted.value": "released script",
        "optimizer.learning_rate": "released script",
        "optimizer.weight_decay": "released script",
        "batch_size": "ours: not found",
        "steps": "ours: not found",
    },
    not_published="The paper's gamma. Size of a batch was not found; the script runs 4 epochs.",
)


def get_config():
    config = common.published()
    config.loss = (dict(name="v_dpo", beta=0.1, gamma=1.0),)
    config.optimizer.learning_rate = 1e-6
    config.optimizer.weight_decay = 0.05
    config.data.views.corrupted = dict(name="corrupt:blank", value=115)
    return config
