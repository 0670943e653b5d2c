"""Phantom (https://arxiv.org/abs/2409.14713): SimPO and fine-tuning at once, against ambiguous and wrong answers.

    python experiments/train.py --config=configs/phantom.py --workdir=runs/phantom \\
        --config.init_from=InternVL3-8B-hf --config.data.source.path=pairs.jsonl

Phantom Optimization is the first of two steps of training, in which the decoder is frozen and the projector learns;
rejected answers are written by GPT-4. The second step is plain fine-tuning of everything. The authors also widen
attention ("Phantom dimension"), which is not here, and their rate falls to 1e-6, ours to 0.
"""

from configs import common

ABOUT = common.About(
    system="Phantom",
    survey="4.1.2",
    paper="2409.14713",
    base_model="InternViT 300M with Qwen2, Phi-3 or InternLM2, 0.5B to 7B",
    modality="image",
    data="chosen, rejected",
    sources={
        "simpo.beta": "paper",
        "simpo.gamma": "paper",
        "chosen_nll.weight": "paper",
        "chosen_nll.reduction": "ours: not published",
        "reference": "paper",
        "frozen": "paper",
        "optimizer.learning_rate": "paper",
        "optimizer.schedule": "paper",
        "batch_size": "paper",
        "steps": "second hand",
    },
    not_published="Code of the training; how the NLL is averaged. The survey's table repeats the chosen answer in the "
    "second term: a misprint, as the paper's equation 4 shows.",
    notes="Trained with QLoRA (r 256, alpha 256) where weights are not frozen. Without the Phantom dimension.",
)


def get_config():
    config = common.published()
    config.steps = 15_625  # 1 epoch of 2,000,000 triples
    config.batch_size = 128
    config.loss = (dict(name="simpo", beta=2.0, gamma=0.5), dict(name="chosen_nll", weight=1.0, reduction="token"))
    config.reference = "none"
    config.frozen = ("^vision/", "^decoder/")
    config.optimizer.learning_rate = 1e-5
    config.optimizer.schedule = "cosine"
    config.data.prompt_length = 4096
    return config
