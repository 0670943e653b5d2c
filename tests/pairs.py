"""Small preference sets on disk, and a config that trains on them in seconds."""

import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

from configs import dpo

WORDS = ("red", "blue", "green", "circle", "square", "small", "large")


def write(folder: Path, count: int = 24, seed: int = 0) -> Path:
    """A JSONL file of pairs, each with a picture as a file."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for i in range(count):
        png = io.BytesIO()
        Image.fromarray(rng.integers(0, 255, (16, 16, 3), np.uint8)).save(png, "PNG")
        (folder / f"{i}.png").write_bytes(png.getvalue())
        answers = [" ".join(rng.choice(WORDS, rng.integers(1, 5))) for _ in range(2)]
        row = {"id": str(i), "prompt": "describe the image.", "images": [f"{i}.png"]}
        lines.append(json.dumps(row | {"chosen": answers[0] + " yes", "rejected": answers[1] + " no"}))
    path = folder / "pairs.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


def config(path: Path, **changes):
    """DPO of a tiny model from scratch; `changes` are top-level settings."""
    settings = small(dpo.get_config(), path)
    settings.update(**changes)
    return settings


def small(settings, path: Path):
    """A config, with a tiny model from scratch."""
    settings.update(steps=6, batch_size=8, log_every=1)
    settings.data.source.path = str(path)
    settings.data.update(prompt_length=40, completion_length=24, max_reject_fraction=0.0)
    settings.tokenizer.vocab_size = 300
    settings.image.update(size=8, grid=1)
    settings.model.vision.update(image_size=8, patch_size=4, dim=16, layers=1, heads=2, mlp_dim=16)
    settings.model.projector.update(dim=16, hidden_dim=16, pool=1)
    settings.model.decoder.update(dim=16, layers=2, heads=2, kv_heads=1, head_dim=8, mlp_dim=16, unroll=1)
    settings.checkpoint.save_every = 2
    settings.frozen = ()
    return settings


def flags(settings, prefix: str = "--config") -> list[str]:
    """A config as command-line overrides, for scripts that start from configs/dpo.py."""
    found = []
    for key, value in settings.items():
        name = f"{prefix}.{key}"
        if hasattr(value, "items"):
            found += flags(value, name)
        elif isinstance(value, (int, float, str)) and value not in ("",):
            found.append(f"{name}={value}")
    return found
