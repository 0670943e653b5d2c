import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from align_jax import registry
from align_jax.data.media import read_image
from align_jax.data.records import Record
from align_jax.preferences.save import save
from align_jax.types import Span


def png(value):
    data = io.BytesIO()
    Image.fromarray(np.full((4, 4, 3), value, np.uint8)).save(data, "PNG")
    return data.getvalue()


RECORD = Record("1", "what?", (png(9),), chosen="this", rejected="thät", meta={"kind": "caption", "objects": ["a"]})


def test_what_is_saved_is_read_back_by_the_source(tmp_path):
    other = dataclasses.replace(RECORD, id="2", rejected=None, images=())
    assert save(tmp_path / "sub" / "pairs.jsonl", [RECORD, other]) == 2
    source = registry.build("align_jax.data.sources", "jsonl", path=str(tmp_path / "sub" / "pairs.jsonl"))()
    for got, expected in zip((source[0], source[1]), (RECORD, other), strict=True):
        assert dataclasses.replace(got, images=(), where="") == dataclasses.replace(expected, images=())
    assert (read_image(source[0].images[0]) == 9).all() and source[1].images == ()


def read(media):
    """A record's media of any nesting, from paths back to bytes."""
    return Path(media).read_bytes() if isinstance(media, str) else media and tuple(map(read, media))


def test_media_of_every_kind_are_read_back_byte_for_byte(tmp_path):
    full = dataclasses.replace(
        RECORD,
        images=(png(1), b"RIFF webp, or so"),
        videos=((png(2), png(1)), (png(3),)),
        sounds=(b"RIFF wave, or so", b"no file at all"),
        rejected_images=(png(4),),
    )
    blind = dataclasses.replace(full, id="2", images=(), videos=((),), sounds=(), rejected_images=())
    save(tmp_path / "pairs.jsonl", [full, blind])
    source = registry.build("align_jax.data.sources", "jsonl", path=str(tmp_path / "pairs.jsonl"))()
    for got, expected in zip((source[0], source[1]), (full, blind), strict=True):
        media = {k: read(getattr(got, k)) for k in ("images", "videos", "sounds", "rejected_images")}
        assert dataclasses.replace(got, **media, where="") == expected
    assert [Path(path).suffix for path in (*source[0].images, *source[0].sounds)] == [".png", ".webp", ".wav", ".snd"]
    assert (
        len(list((tmp_path / "pairs_images").iterdir())) == 5 and len(list((tmp_path / "pairs_sounds").iterdir())) == 2
    )


def test_records_with_the_same_image_share_one_file(tmp_path):
    save(tmp_path / "pairs.jsonl", [RECORD, RECORD, dataclasses.replace(RECORD, images=(png(1), png(2)))])
    assert len(list((tmp_path / "pairs_images").iterdir())) == 3


def test_image_paths_are_written_relative_to_the_file(tmp_path):
    (tmp_path / "in.png").write_bytes(png(3))
    save(tmp_path / "pairs.jsonl", [dataclasses.replace(RECORD, images=(str(tmp_path / "in.png"),))])
    assert json.loads((tmp_path / "pairs.jsonl").read_text())["images"] == ["in.png"]
    with pytest.raises(ValueError, match="outside"):
        save(tmp_path / "sub" / "pairs.jsonl", [dataclasses.replace(RECORD, images=(str(tmp_path / "in.png"),))])
    sound = dataclasses.replace(RECORD, images=(), sounds=(str(tmp_path / "sub" / ".." / "in.wav"),))
    save(tmp_path / "pairs.jsonl", [sound])
    assert json.loads((tmp_path / "pairs.jsonl").read_text())["sounds"] == ["in.wav"]


def test_a_failure_leaves_the_old_file_and_no_other(tmp_path):
    save(tmp_path / "pairs.jsonl", [dataclasses.replace(RECORD, images=())])
    before = (tmp_path / "pairs.jsonl").read_text()
    broken = dataclasses.replace(RECORD, images=(), meta={"prompt": "twice"})
    with pytest.raises(ValueError, match="prompt"):
        save(tmp_path / "pairs.jsonl", [RECORD, broken])
    assert (tmp_path / "pairs.jsonl").read_text() == before
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["pairs.jsonl"]


def test_what_some_methods_need_besides_is_read_back(tmp_path):
    full = dataclasses.replace(
        RECORD,
        answers={"revised": "that"},
        ranked=("this", "thät"),
        scores=(1.0, 0.5),
        views={"similar": (png(3),)},
        spans={"chosen": (Span(0, 4, "accurate"),), "revised": (Span(1, 2, 2.5),)},
    )
    save(tmp_path / "pairs.jsonl", [full])
    got = registry.build("align_jax.data.sources", "jsonl", path=str(tmp_path / "pairs.jsonl"))()[0]
    assert (got.answers, got.ranked, got.scores, got.spans) == (full.answers, full.ranked, full.scores, full.spans)
    assert read(got.views["similar"]) == (png(3),)
