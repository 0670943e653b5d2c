"""A template and a small JSON lines data set with its images, shared by the tests of data/."""

import json

import numpy as np
import pytest
from PIL import Image

from align_jax.data.templates import ChatTemplate, train_tokenizer

TOKENS_PER_IMAGE = 4


@pytest.fixture(scope="session")
def template():
    return ChatTemplate(train_tokenizer(["a red circle, a blue triangle. What is it?"] * 3, 300), TOKENS_PER_IMAGE)


@pytest.fixture
def write_rows(tmp_path):
    """Writes dicts (or raw lines) as rows.jsonl, with images 0.png, 1.png, ... beside it; returns the path."""

    def write(rows):
        for i in range(len(rows)):
            Image.fromarray(np.full((6, 5, 3), i, np.uint8)).save(tmp_path / f"{i}.png")
        path = tmp_path / "rows.jsonl"
        path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
        return str(path)

    return write


@pytest.fixture
def pairs(write_rows):
    """Writes n preference pairs with one image each; rows in `broken` point to an image that is not there."""

    def write(n, broken=()):
        image = [f"{i}.png" if i not in broken else "lost.png" for i in range(n)]
        return write_rows(
            [{"prompt": "What is it?", "image": image[i], "chosen": f"a {i}", "rejected": f"no {i}"} for i in range(n)]
        )

    return write
