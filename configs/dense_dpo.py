"""Dense DPO (RLHF-V, https://arxiv.org/abs/2312.00849): corrected segments weigh more than the rest.

    python experiments/train.py --config=configs/dense_dpo.py --workdir=runs/dense_dpo \
        --config.init_from=runs/quickstart/sft --config.data.source.path=pairs.jsonl

The paper has beta 0.5, gamma 5 and a learning rate of 5e-7 for seven epochs at 13 B parameters. For its own data:
--config.data.source.name=rlhf_v --config.data.source.path=RLHF-V-Dataset.parquet, with lengths to fit.
"""

from configs import common


def get_config():
    config = common.base()
    config.steps = 200
    config.loss = (dict(name="dense_dpo", beta=0.5, gamma=5.0, normalize=True), dict(name="chosen_nll", weight=0.5))
    config.data.source = dict(name="jsonl", path="")
    return config
