"""Step-DPO (https://arxiv.org/abs/2406.18629): DPO on the first wrong step of a reasoning. Beyond the survey.

    python experiments/train.py --config=configs/step_dpo.py --workdir=runs/step_dpo \\
        --config.init_from=Qwen2-7B-Instruct --config.data.source.path=steps.jsonl

Right steps so far stand in the prompt; the next one, right or wrong, is what is chosen or rejected:
align_jax/preferences/steps.py makes such records. Settings are for Qwen2 7B; 72B has beta .4 and 4 epochs.
"""

from configs import common

ABOUT = common.About(
    system="Step-DPO",
    paper="2406.18629",
    base_model="Qwen2 7B, fine-tuned",
    modality="text",
    data="chosen, rejected: one step each",
    sources={
        "dpo.beta": "released script",
        "optimizer.learning_rate": "TRL default",
        "batch_size": "ours: not found",
        "steps": "ours: not found",
    },
    not_published="Rate and batch were not found; the script runs 8 epochs.",
    notes="The authors put the steps behind what the chat template writes ahead of an answer.",
)


def get_config():
    config = common.published()
    config.steps = 1250  # 8 epochs of 10,000 pairs
    config.loss = (dict(name="dpo", beta=0.5),)
    config.frozen = ()
    return config
