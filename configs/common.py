"""Settings that all configs share. Everything here can be overridden: --config.optimizer.learning_rate=1e-4"""

import dataclasses
from collections.abc import Mapping

from ml_collections import ConfigDict, config_dict

# Where a value comes from. "second hand": a review or notes that quote the paper; "ours: not found": it may be
# published, but was in nothing that was read.
WHERE = ("paper", "released script", "second hand", "TRL default", "ours: not published", "ours: not found")


@dataclasses.dataclass(frozen=True)
class About:
    """What a config reproduces, and how far: its constant `ABOUT`, beside `get_config`.

    Attributes:
      system: its name.
      paper: arXiv number, address, or title where neither is known.
      base_model: what the authors start from.
      modality: "image", "multi-image", "video", "audio", "audio-video" or "text".
      data: what a record must have besides its prompt and media.
      survey: section of the survey (https://arxiv.org/abs/2503.14504) that lists it; "" if none does.
      sources: setting ("optimizer.learning_rate") or hyper-parameter ("dpo.beta") -> where its value comes from: one
        of `WHERE`.
      not_published: what could not be read, and is therefore ours or unverified.
      notes: what else is different here.
    """

    system: str
    paper: str
    base_model: str
    modality: str
    data: str
    survey: str = ""
    sources: Mapping[str, str] = dataclasses.field(default_factory=dict)
    not_published: str = ""
    notes: str = ""


def base() -> ConfigDict:
    """A run of the small model on pairs of the quickstart; a method's config changes what it needs to."""
    config = ConfigDict()
    config.seed = 0
    config.steps = 100
    config.batch_size = 32  # rows over all hosts
    config.microbatches = 1  # parts that a batch is cut into, to save memory
    config.score_chunk = 128  # completion positions whose logits exist at a time
    # Where to start: the workdir of a run, or a Hugging Face checkpoint; gives model and tokenizer too.
    config.init_from = ""
    config.init_vision = ""  # folder of a pretrained vision tower, for a model from scratch
    config.frozen = ("^vision/",)  # patterns of parameter paths
    config.reference = "frozen"  # or "none"
    config.loss = ()  # one or more of dict(name=..., weight=..., hyper-parameters)
    config.model = small_model()
    config.tokenizer = ConfigDict({"vocab_size": 512})  # of a model from scratch; its words come from the data
    config.image = ConfigDict({"size": 32, "grid": 2})  # resized to grid x grid tiles of the vision tower's size
    config.processor = processor()
    # Activations, and parameters that a published model starts with. float32 keeps small updates from being lost.
    config.compute = ConfigDict({"dtype": "float32", "param_dtype": "float32", "remat": False})
    config.data = ConfigDict(
        {
            "source": {"name": config_dict.placeholder(str)},  # and what the source takes, see align_jax/data/sources
            "prompt_length": 16,  # tokens, placeholders of pictures included
            "completion_length": 18,
            "max_images": 1,  # of a prompt, for a model that is made here
            "media_items": 0,  # tiles, patches or recordings of a prompt, for a published one; 0: as they come
            "two_sided": False,  # whether records may have rejected_images: other pictures for the rejected answer
            "views": {},  # other pictures for the same text: view -> dict(name="corrupt:...", hyper-parameters)
            "workers": 0,  # processes that read and decode
            "max_reject_fraction": 0.01,  # of records that may be broken
        }
    )
    config.optimizer = optimizer()
    config.mesh = ConfigDict({"data": 1, "fsdp": -1, "tensor": 1})  # -1: all that is left
    config.checkpoint = ConfigDict({"keep": 2, "save_every": 500})
    config.log_every = 10
    config.samples = ConfigDict({"every": 0, "count": 4})  # pictures with the model's words, in TensorBoard
    return config


def published() -> ConfigDict:
    """A run of a published model on pairs in a JSONL file; a system's config changes what it needs to."""
    config = base()
    config.steps = 1000
    config.batch_size = 64
    config.frozen = ("^vision/",)
    config.optimizer.learning_rate = 1e-6
    config.compute.dtype = "bfloat16"
    config.compute.remat = True
    config.data.prompt_length = 1024  # of them 576 for a picture of LLaVA-1.5, up to 2880 for one of LLaVA-NeXT
    config.data.completion_length = 256
    config.data.source = dict(name="jsonl", path="")
    return config


def small_model() -> ConfigDict:
    """A LLaVA of 0.8 M parameters: it trains on a CPU, with the code that trains the large ones."""
    return ConfigDict(
        {
            "vision": {"image_size": 32, "patch_size": 8, "dim": 96, "layers": 2, "heads": 4, "mlp_dim": 192},
            "projector": {"dim": 128, "hidden_dim": 128, "pool": 4},
            "decoder": {
                "dim": 128,
                "layers": 2,
                "heads": 4,
                "kv_heads": 2,
                "head_dim": 32,
                "mlp_dim": 384,
                "unroll": 2,
                "remat": False,
            },
        }
    )


def optimizer() -> ConfigDict:
    """Arguments of align_jax/train/optimizer.py."""
    return ConfigDict(
        {
            "name": "adamw",  # or "muon", for models from scratch
            "learning_rate": 2e-4,
            "warmup": 0.1,
            "schedule": "cosine",
            "b1": 0.9,
            "b2": 0.999,
            "weight_decay": 0.0,
            "clip_norm": 1.0,
            "muon_learning_rate": 0.02,
        }
    )


def processor() -> ConfigDict:
    """Options of published models' processors, see align_jax/data/processors; unset: as published.

    A model refuses those that are not its own.
    """
    whole = ("min_pixels", "max_pixels", "video_min_pixels", "video_max_pixels", "longest_edge")
    whole += ("min_tiles", "max_tiles", "min_crop_size", "max_crops")
    kinds = dict.fromkeys(whole, int) | dict.fromkeys(("fps", "min_ratio"), float)
    kinds |= dict.fromkeys(("pan_and_scan", "split", "truncate"), bool) | {"image_grid_pinpoints": tuple}
    return ConfigDict({name: config_dict.placeholder(kind) for name, kind in kinds.items()})
