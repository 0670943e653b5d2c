import io
import pickle

import numpy as np
import pytest
from PIL import Image

from align_jax import registry
from align_jax.data import scenes, scenes_builder

SMALL = dict(seed=1, sft=20, preference=8, evaluation=6, in_prior=3, official=40)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return scenes_builder.write(tmp_path_factory.mktemp("tfds"), **SMALL)


def source(**hyper):
    return registry.build("align_jax.data.sources", "scenes", **hyper)()


def test_every_conversation_of_a_split_becomes_a_record(data_dir):
    records = source(data_dir=data_dir, split="preference")
    got = {r.id: (r.prompt, r.chosen, r.meta) for r in map(records.__getitem__, range(len(records)))}
    expected = {
        f"{name}/{turn}": (c.prompt, c.answer, {"objects": list(scene.objects), "kind": c.kind})
        for name, scene, _, conversations in scenes_builder.examples(
            "preference", scenes_builder.ScenesConfig(**SMALL)
        )
        for turn, c in enumerate(conversations)
    }
    assert len(got) == 16 and got == expected


def test_the_picture_is_a_png_of_the_scene(data_dir):
    records = source(data_dir=data_dir, split="evaluation")
    config = scenes_builder.ScenesConfig(**SMALL)
    pictures = {e[0]: scenes.render(e[1], e[2].tiles) for e in scenes_builder.examples("evaluation", config)}
    for i in range(len(records)):
        (png,) = records[i].images
        np.testing.assert_array_equal(
            np.asarray(Image.open(io.BytesIO(png))), pictures[records[i].id.removesuffix("/0")]
        )


def test_only_existence_questions_have_a_rejected_answer(data_dir):
    for split in ("preference", "official"):
        records = source(data_dir=data_dir, split=split)
        for r in map(records.__getitem__, range(len(records))):
            if r.meta["kind"] == "existence":
                assert {r.chosen, r.rejected} == {"yes", "no"}
            else:
                assert r.rejected is None


def test_official_records_tell_their_polarity(data_dir):
    records = source(data_dir=data_dir, split="official")
    assert len(records) == 40
    for r in map(records.__getitem__, range(len(records))):
        assert (r.meta["polarity"] == "open") == (r.chosen not in ("yes", "no"))


def test_kinds_filter_and_weigh(data_dir):
    assert len(source(data_dir=data_dir, split="sft", kinds=("caption",))) == 20
    mixed = source(data_dir=data_dir, split="sft", kinds={"caption": 3, "existence": 2})
    kinds = [mixed[i].meta["kind"] for i in range(len(mixed))]
    # All 40 questions are kept once; the 20 captions are repeated until there are 3 for every 2 questions.
    assert kinds.count("caption") == 60 and kinds.count("existence") == 40
    assert len({mixed[i].id for i in range(len(mixed))}) == 60
    with pytest.raises(ValueError, match="positive"):
        source(data_dir=data_dir, split="sft", kinds={"caption": 0.0})


def test_a_pickled_source_reads_the_same(data_dir):
    records = source(data_dir=data_dir, split="in_prior")
    copy = pickle.loads(pickle.dumps(records))
    assert [copy[i] for i in range(len(copy))] == [records[i] for i in range(len(records))]


def test_what_is_not_there_is_named(data_dir, tmp_path):
    with pytest.raises(ValueError, match=r"scenes_builder\.write"):
        source(data_dir=str(tmp_path), split="sft")
    with pytest.raises(ValueError, match="in_prior"):
        source(data_dir=data_dir, split="train")
    with pytest.raises(ValueError, match="'evaluation' has no official; it has: caption"):
        source(data_dir=data_dir, split="evaluation", kinds=("official",))
