"""video-SALMONN 2 (mrDPO, https://arxiv.org/abs/2506.15220): rounds of DPO with the NLL of the true caption.

    python experiments/rounds.py --config=configs/video_salmonn2.py --workdir=runs/video_salmonn2 --rounds=3 \\
        --config.init_from=llava-onevision-qwen2-7b-ov-hf --config.data.source.path='pairs_{round}.jsonl' \\
        --plain_first --rebirth

The first round is plain DPO. A round starts from the one before, which is its reference, with pairs that are sampled
from it; in the end the captions of the last one fine-tune the model from before all rounds ("rebirth"). One round
alone is `experiments/train.py --config=configs/video_salmonn2.py`. A record has a third answer:

    {"id": "1", "videos": [["1/0.jpg", "1/1.jpg"]], "prompt": "Describe it.", "chosen": "A dog runs, and barks.",
     "rejected": "A cat runs.", "answers": {"truth": "A dog runs after a ball, and barks."}}

No family here both sees videos and hears: a model gets one or the other.
"""

from configs import common

ABOUT = common.About(
    system="video-SALMONN 2 (mrDPO)",
    survey="3.2.4",
    paper="2506.15220",
    base_model="LLaVA-OneVision 7B with an audio branch",
    modality="audio-video",
    data="chosen, rejected, answers.truth",
    sources={
        "dpo.beta": "released script",
        "truth_nll.weight": "released script",
        "optimizer.learning_rate": "TRL default",
        "batch_size": "ours: not found",
        "steps": "second hand",
    },
    not_published="Learning rate and batch were not found. The length of a round is from the abstract; the released "
    "script runs 3 epochs.",
    notes="Trained with LoRA (r 128, alpha 256, dropout .05), which is merged and made anew in each round. An earlier "
    "version is arXiv 2410.06682, which the survey cites.",
)


def get_config():
    config = common.published()
    config.steps = 1000
    config.loss = (dict(name="dpo", beta=0.1), dict(name="truth_nll", weight=0.1))
    config.data.prompt_length = 4096
    config.data.completion_length = 512
    return config
