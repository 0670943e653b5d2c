"""CHiP (https://arxiv.org/abs/2501.16629): preferences between pictures, answers, corrected segments and tokens.

    python experiments/train.py --config=configs/chip.py --workdir=runs/chip \\
        --config.init_from=llava-v1.6-vicuna-7b-hf --config.data.source.path=RLHF-V-Dataset.parquet

The paper's form and constants, as far as reviews quote them, for LLaVA-1.6; for Muffin lam is 1. The released code
puts all terms into one sigmoid, with beta .1 and a weight of segments of 4 (LLaVA) or 2 (Muffin, 3 epochs):

    --config.loss="({'name': 'chip', 'form': 'code', 'beta': 0.1, 'segment_weight': 4.0},)"
"""

from configs import common

ABOUT = common.About(
    system="CHiP",
    survey="3.1.1",
    paper="2501.16629",
    base_model="LLaVA-1.6 7B, Muffin 13B",
    modality="image",
    data="chosen, rejected, one corrected into the other",
    sources={
        "chip.beta": "second hand",
        "chip.lam": "second hand",
        "chip.gam": "second hand",
        "chip.response_weight": "second hand",
        "chip.segment_weight": "released script",
        "optimizer.learning_rate": "released script",
        "data.views.corrupted.step": "released script",
        "batch_size": "ours: not found",
        "steps": "ours: not found",
    },
    not_published="The paper was read at second hand: which constant is which, .5 and .1, is our reading. Size of a "
    "batch was not found.",
)


def get_config():
    config = common.published()
    config.steps = 179  # 1 epoch of the 5,733 pairs of RLHF-V
    config.batch_size = 32
    config.loss = (dict(name="chip", beta=0.5, response_weight=1.0, lam=3.0, gam=0.1, segment_weight=4.0),)
    config.optimizer.learning_rate = 5e-7
    config.data.prompt_length = 3072
    config.data.source = dict(name="rlhf_v", path="")
    config.data.views.corrupted = dict(name="corrupt:diffusion", step=500)
    return config
