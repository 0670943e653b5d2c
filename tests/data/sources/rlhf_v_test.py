import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from align_jax.data import sources
from align_jax.data.examples import Encode
from align_jax.data.inputs import TileInputs
from align_jax.data.media import ImageProcessor
from align_jax.data.pack import TreePacker
from align_jax.data.pipeline import batches
from align_jax.data.records import RecordError
from align_jax.data.rejects import Rejects
from align_jax.types import PreferenceBatch

GOOD = json.dumps({"question": "What is it?", "chosen": "a red circle", "rejected": "a blue triangle"})


def write(path, *texts):
    buffer = io.BytesIO()
    Image.fromarray(np.full((6, 5, 3), 255, np.uint8)).save(buffer, "JPEG")
    rows = [
        {
            "ds_name": "RLHF-V",
            "image": {"bytes": buffer.getvalue(), "path": "llava/000.jpg"},
            "text": text,
            "origin_dataset": "coco",
            "origin_split": '{"model": "llava", "type": "detail"}',
            "idx": 100 + i,
            "image_path": "llava/000.jpg",
        }
        for i, text in enumerate(texts)
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)
    return str(path)


def test_published_schema_becomes_a_record(tmp_path):
    record = sources.build("rlhf_v", path=write(tmp_path / "rlhf_v.parquet", GOOD, GOOD))[1]
    assert (record.id, record.prompt, record.chosen, record.rejected) == (
        "101", "What is it?", "a red circle", "a blue triangle"
    )  # fmt: skip
    assert len(record.images) == 1 and isinstance(record.images[0], bytes)
    assert set(record.meta) == {"ds_name", "origin_dataset", "origin_split", "idx", "image_path"}


@pytest.mark.parametrize(
    "text, message",
    [
        ("{", "'text' is not JSON"),
        ('["x"]', "'text' must be a JSON object"),
        ('{"question": "x", "chosen": "y"}', "'text' lacks rejected"),
        ('{"question": "x", "chosen": "y", "rejected": ""}', "'rejected' is empty"),
    ],
)
def test_broken_text_is_named(tmp_path, text, message):
    with pytest.raises(RecordError, match=f"rlhf_v.parquet row 0: {message}"):
        sources.build("rlhf_v", path=write(tmp_path / "rlhf_v.parquet", text))[0]


def test_schema_goes_through_to_a_batch(tmp_path, template):
    source = sources.build("rlhf_v", path=write(tmp_path / "rlhf_v.parquet", GOOD, "{", GOOD))
    inputs = TileInputs(template, ImageProcessor(4))
    encode = Encode(inputs, 32, 8, reads=PreferenceBatch.reads)
    packer = TreePacker(2, 32, 8, template.pad_id, inputs.empty, items=1)
    rejects = Rejects(tmp_path / "rejects.jsonl", limit=1)
    (batch,) = batches(
        source, encode, PreferenceBatch, packer, rejects=rejects, batch_size=2, seed=0, epochs=1, prefetch=0
    )
    np.testing.assert_array_equal(batch.weight, [1, 1])
    assert rejects.count == 1
    assert template.decode(batch.tree.targets[0, 0]) == "a red circle"
    assert template.decode(batch.tree.targets[1, 1]) == "a blue triangle"
    white = inputs.processor(np.full((6, 5, 3), 255, np.uint8))
    np.testing.assert_allclose(batch.tree.media.pixels[0], white, atol=0.05)
