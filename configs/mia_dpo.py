"""MIA-DPO (https://arxiv.org/abs/2410.17637): DPO on prompts with several pictures, made from single ones.

    python experiments/train.py --config=configs/mia_dpo.py --workdir=runs/mia_dpo \\
        --config.init_from=llava-onevision-qwen2-7b-ov-hf --config.data.source.path=pairs.jsonl

Pictures are put in a sequence, a grid or into each other. The true answer is chosen; the model's own is rejected, if
it is wrong, was given with confidence, and looked at the picture that is asked about less than at the others. The
paper adds the NLL of the chosen answer, of which the released script's weight is 0: dict(name="chosen_nll",
weight=...) has it.
"""

from configs import common

ABOUT = common.About(
    system="MIA-DPO",
    survey="3.2.1",
    paper="2410.17637",
    base_model="LLaVA-1.5 7B, InternLM-XComposer 2.5",
    modality="multi-image",
    data="chosen, rejected; several pictures",
    sources={
        "dpo.beta": "released script",
        "optimizer.learning_rate": "released script",
        "batch_size": "ours: not found",
        "steps": "ours: not found",
    },
    not_published="Size of a batch and number of pairs were not found; the script runs one epoch.",
    notes="Trained with LoRA (r 128, alpha 256), whose rate is too high for all weights: try 1e-6.",
)


def get_config():
    config = common.published()
    config.loss = (dict(name="dpo", beta=0.1),)
    config.optimizer.learning_rate = 5e-5
    config.data.prompt_length = 4096
    return config
