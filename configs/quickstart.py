"""Stages of the quickstart before alignment. Any of them can be changed: --stages.sft.steps=300"""

from ml_collections import ConfigDict

from configs import common, sft


def get_config():
    config = ConfigDict()
    config.scenes = ConfigDict({"partner_share": 0.99, "yes_share": 0.85, "sft": 8000, "preference": 2500})
    # A tower trained on tiles by shape and colour stands in for CLIP; it stays frozen afterwards.
    config.tower = ConfigDict({"steps": 700, "batch_size": 64, "optimizer": common.optimizer()})
    config.tower.optimizer.name = "muon"
    config.tower.optimizer.learning_rate = 3e-3
    config.tower.optimizer.weight_decay = 0.1
    config.tower.optimizer.warmup = 0.05
    config.sft = sft.get_config()
    # Pairs: the best of some sampled captions against the worst with as many mentions; and yes/no questions.
    config.preference = ConfigDict({"samples": 6, "temperature": 1.0, "questions": 1000, "batch_size": 125})
    return config
