"""3D-CT-GPT++ (https://openreview.net/forum?id=LzycEbgLoi): DPO on reports of chest CT that GPT-4 has scored.

    python experiments/train.py --config=configs/ct_gpt.py --workdir=runs/ct_gpt \\
        --config.init_from=llava-onevision-qwen2-7b-ov-hf --config.data.source.path=pairs.jsonl

The fine-tuned model writes six reports for each volume (temperature 1); one that GPT-4 scores 3 or more out of 5 is
chosen, one below is rejected, both at random. The authors' tower for volumes, CTViT-V, is not here: a record has the
slices as frames of a video.
"""

from configs import common

ABOUT = common.About(
    system="3D-CT-GPT++",
    survey="3.3.1",
    paper="https://openreview.net/forum?id=LzycEbgLoi",
    base_model="LLaVA-1.5 with Vicuna 7B and CTViT-V",
    modality="video",
    data="chosen, rejected; slices as frames",
    sources={
        "dpo.beta": "second hand",
        "optimizer.learning_rate": "TRL default",
        "batch_size": "ours: not found",
        "steps": "ours: not found",
    },
    not_published="No code. A reader's summary of the paper has beta and how pairs are made, but neither rate nor "
    "batch.",
    notes="Without the authors' tower this is their recipe, not their model.",
)


def get_config():
    config = common.published()
    config.loss = (dict(name="dpo", beta=0.1),)
    config.data.prompt_length = 8192
    config.data.completion_length = 512
    return config
