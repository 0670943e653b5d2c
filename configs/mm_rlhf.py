"""MM-DPO (MM-RLHF, https://arxiv.org/abs/2502.10391): DPO whose beta grows with a reward model's margin, and NLL.

    python experiments/train.py --config=configs/mm_rlhf.py --workdir=runs/mm_rlhf \\
        --config.init_from=llava-onevision-qwen2-7b-ov-hf --config.data.source.path=pairs.jsonl

A record has a number, `margin`: the reward of the chosen answer less that of the rejected one. All pairs of a prompt's
answers with different human ranks are used, of pictures, videos and safety alike. The paper searches the weight of the
NLL in 0, .1, .25, .5 and 1; .25 is that of the released script, whose beta is another: dict(name="mm_dpo",
form="code", w=0.1).
"""

from configs import common

ABOUT = common.About(
    system="MM-DPO (MM-RLHF)",
    survey="3.1.2",
    paper="2502.10391",
    base_model="LLaVA-OneVision 7B",
    modality="image",
    data="chosen, rejected, margin",
    sources={
        "mm_dpo.beta": "second hand",
        "mm_dpo.w": "second hand",
        "mm_dpo.k": "second hand",
        "chosen_nll.weight": "released script",
        "optimizer.learning_rate": "released script",
        "frozen": "second hand",
        "batch_size": "ours: not found",
        "steps": "ours: not found",
    },
    not_published="The equation was read in three notes that quote the paper, not in the paper. Number of devices, "
    "and thus size of a batch.",
    notes="Also the survey's entry on videos (3.2.3) and safety (3.3.4), with the same training.",
)


def get_config():
    config = common.published()
    config.steps = 1250  # 1 epoch of 120,000 pairs
    config.batch_size = 96
    config.loss = (dict(name="mm_dpo", beta=0.1, w=0.5, k=0.5), dict(name="chosen_nll", weight=0.25))
    config.optimizer.learning_rate = 1e-6
    config.data.prompt_length = 8192  # a picture in tiles takes up to 7,300 tokens
    config.data.completion_length = 512
    return config
