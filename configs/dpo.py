"""DPO with a little NLL on the chosen answers, which keeps it from writing what no parser reads.

    python experiments/train.py --config=configs/dpo.py --workdir=runs/dpo \
        --config.init_from=runs/sft --config.data.source.path=pairs.jsonl

Half a minute on two CPU cores. Rafailov et al. 2023 use beta 0.1 to 0.5 and a learning rate of 1e-6 at 7 B parameters.
"""

from configs import common

ABOUT = common.About(
    system="DPO",
    paper="2305.18290",
    base_model="the quickstart's, after SFT",
    modality="image",
    data="chosen, rejected",
    sources={
        "dpo.beta": "paper",
        "dpo.label_smoothing": "paper",
        "chosen_nll.weight": "ours: not published",
        "optimizer.learning_rate": "ours: not published",
        "batch_size": "ours: not published",
        "steps": "ours: not published",
    },
    notes="For a model of a million parameters. Published ones: configs/published_dpo.py.",
)


def get_config():
    config = common.base()
    config.steps = 200
    config.loss = (dict(name="dpo", beta=0.1, label_smoothing=0.0), dict(name="chosen_nll", weight=0.5))
    config.data.source = dict(name="jsonl", path="")
    return config
