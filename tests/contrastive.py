"""A tiny CLIP on disk, and records of attacked pictures: nothing here needs PyTorch."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import transformers
from PIL import Image
from tokenizers import pre_tokenizers

from align_jax.models import families, kinds, pretrained

TOWER = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2)
LABELS = [f"a photo of a {name}" for name in ("dog", "bus", "cat", "cup")]
CONTEXT = 24


def make_tokenizer() -> transformers.CLIPTokenizer:
    """CLIP's, over letters: without merges."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return transformers.CLIPTokenizer(vocab={word: i for i, word in enumerate(words)}, merges=[])


def make_files(folder: Path) -> transformers.CLIPConfig:
    """Writes config, tokenizer and processor files."""
    tokenizer = make_tokenizer()
    tokenizer.save_pretrained(folder)
    ids = dict(bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id)
    text = dict(TOWER, vocab_size=len(tokenizer), max_position_embeddings=CONTEXT, pad_token_id=1, **ids)
    vision = dict(TOWER, image_size=16, patch_size=8)
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)
    config.save_pretrained(folder)
    square = {"height": 16, "width": 16}
    transformers.CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size=square).save_pretrained(folder)
    return config


def checkpoint(folder: Path) -> Path:
    """A Hugging Face checkpoint of random weights."""
    family = families.build(make_files(folder / "files").to_dict())
    rng, shapes = np.random.default_rng(0), kinds.of(family.sizes).param_shapes(family.sizes)
    params = jax.tree.map(lambda x: jnp.asarray(0.3 * rng.normal(size=x.shape), jnp.float32), shapes)
    pretrained.save_pretrained(folder / "clip", family, params, like=folder / "files")
    return folder / "clip"


def write(folder: Path, count: int = 8) -> Path:
    """A JSONL file of attacked pictures, with the clean ones beside them."""
    rng, rows = np.random.default_rng(0), []
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        for name in ("clean", "attacked"):
            picture = rng.integers(0, 256, (20, 16, 3), np.uint8)
            Image.fromarray(picture).save(folder / f"{name}{i}.png")
        chosen, rejected, *others = LABELS
        views = {"clean": [f"clean{i}.png"]}
        row = dict(prompt="<image>", images=[f"attacked{i}.png"], views=views, ranked=others)
        rows.append(json.dumps(row | dict(chosen=chosen, rejected=rejected)))
    path = folder / "attacked.jsonl"
    path.write_text("\n".join(rows) + "\n")
    return path
