"""OmniAlign-V (https://arxiv.org/abs/2502.18411): DPO on long, open answers.

    python experiments/train.py --config=configs/omnialign_v.py --workdir=runs/omnialign_v \\
        --config.init_from=llava-v1.6-vicuna-7b-hf --config.data.source.path=pairs.jsonl

Chosen is the answer of the data set OmniAlign-V; rejected the one that was judged worst of several of a LLaVA-NeXT
that was not trained on it.
"""

from configs import common

ABOUT = common.About(
    system="OmniAlign-V",
    survey="3.1.2",
    paper="2502.18411",
    base_model="LLaVA-NeXT with InternLM2.5 7B",
    modality="image",
    data="chosen, rejected",
    sources={
        "dpo.beta": "released script",
        "optimizer.learning_rate": "released script",
        "batch_size": "ours: not found",
        "steps": "ours: not found",
    },
    not_published="Size of a batch and number of pairs were not found; the script runs one epoch.",
    notes="The script's weight of the NLL of the chosen answer is 0: left out.",
)


def get_config():
    config = common.published()
    config.loss = (dict(name="dpo", beta=0.1),)
    config.optimizer.learning_rate = 5e-7
    config.data.prompt_length = 3072
    config.data.completion_length = 1024
    return config
