"""FDPO (M-HalDetect, https://arxiv.org/abs/2308.06394): each labelled sentence is preferred or not, without pairs.

    python experiments/train.py --config=configs/mhal_detect.py --workdir=runs/mhal_detect \\
        --config.init_from=llava-1.5-7b-hf --config.data.source.path=labelled.jsonl

A record has an answer of the model, and labels of its parts, in characters:

    {"id": "1", "images": ["1.jpg"], "prompt": "Describe it.", "chosen": "A dog. It sleeps.", "spans":
     {"chosen": [{"start": 0, "end": 6, "label": "accurate"}, {"start": 7, "end": 17, "label": "inaccurate"}]}}

Other labels are "analysis" and "unsure", which are passed over. The authors published their data, but no code.
"""

from configs import common

ABOUT = common.About(
    system="FDPO (M-HalDetect)",
    survey="3.1.1",
    paper="2308.06394",
    base_model="InstructBLIP",
    modality="image",
    data="chosen, spans.chosen",
    sources={
        "fdpo.beta": "ours: not found",
        "optimizer.learning_rate": "TRL default",
        "batch_size": "ours: not found",
        "steps": "ours: not found",
    },
    not_published="No code. beta .5 is from memory; neither rate nor batch was found.",
    notes="InstructBLIP has no family here.",
)


def get_config():
    config = common.published()
    config.loss = (dict(name="fdpo", beta=0.5),)
    return config
