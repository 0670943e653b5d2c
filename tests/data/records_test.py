import pickle
from pathlib import Path

import pytest

from align_jax.data.records import RecordError, parse_record
from align_jax.types import Span

ROOT = Path("/data")


def parse(**row):
    return parse_record(row, "pairs.jsonl:7", ROOT, default_id="7")


def reason(**row):
    with pytest.raises(RecordError) as error:
        parse(**row)
    assert error.value.where == "pairs.jsonl:7"
    assert str(error.value).startswith("pairs.jsonl:7: ")
    return error.value.reason


def test_a_full_row_is_taken_over():
    record = parse(id=3, prompt="What?", images=["a/b.png"], chosen="yes", rejected="no", margin=0.5)
    assert (record.id, record.prompt, record.chosen, record.rejected) == ("3", "What?", "yes", "no")
    assert record.images == ("/data/a/b.png",)
    assert record.meta == {"margin": 0.5}
    assert record.place == "pairs.jsonl:7"


def test_id_defaults_to_the_row_and_null_counts_as_absent():
    record = parse(id=None, prompt="What?", image=None, chosen=None)
    assert record.id == "7"
    assert record.images == ()
    assert record.chosen is None


def test_missing_prompt_names_the_keys_there_are():
    assert "'prompt' is missing" in reason(question="What?", answer="yes")
    assert "question, answer" in reason(question="What?", answer="yes")


@pytest.mark.parametrize(
    "field, value, kind",
    [
        ("prompt", 3, "a number"),
        ("chosen", ["yes"], "a list"),
        ("rejected", {"a": 1}, "an object"),
        ("id", 1.5, "a number"),
    ],
)
def test_wrong_type_names_the_field_and_the_type(field, value, kind):
    assert f"{field!r} is {kind}" in reason(**{"prompt": "What?", field: value})


@pytest.mark.parametrize("field", ["prompt", "chosen", "rejected"])
def test_empty_text_is_an_error(field):
    assert f"{field!r} is empty" in reason(**{"prompt": "What?", field: " \n"})


def test_a_row_that_is_no_object_is_an_error():
    with pytest.raises(RecordError, match="the row is a list"):
        parse_record(["What?"], "x:1", ROOT)


@pytest.mark.parametrize("path", ["../secret.png", "/etc/passwd", "a/../../secret.png", "/database/x.png"])
def test_image_paths_may_not_leave_the_root(path):
    assert "leaves the data root /data" in reason(prompt="What?", image=path)


@pytest.mark.parametrize("path", ["/data/x.png", "a/../x.png", "./x.png"])
def test_image_paths_inside_the_root_may_be_written_in_any_way(path):
    assert parse(prompt="What?", image=path).images == ("/data/x.png",)


@pytest.mark.parametrize("address", ["https://host/x.png", "data:image/png;base64,AAAA"])
def test_addresses_are_not_images(address):
    assert "only files are read" in reason(prompt="What?", images=[address])


@pytest.mark.parametrize("image, kind", [(3, "a number"), ("", "empty"), ({"bytes": b"", "path": None}, "empty")])
def test_an_image_must_be_a_path_or_bytes(image, kind):
    assert f"'images'[1] is {kind}" in reason(prompt="What?", images=["a.png", image])


def test_images_must_be_a_list_and_stand_in_one_place():
    assert "'images' is a string" in reason(prompt="What?", images="a.png")
    assert "both 'image' and 'images'" in reason(prompt="What?", image="a.png", images=["a.png"])


def test_bytes_win_over_the_path_beside_them():
    assert parse(prompt="What?", image={"bytes": b"PNG", "path": "../x.png"}).images == (b"PNG",)
    assert parse(prompt="What?", image={"bytes": None, "path": "x.png"}).images == ("/data/x.png",)


def test_marks_must_match_the_images():
    assert "2 <image> marks for 1 images" in reason(prompt="<image><image> What?", image="a.png")
    assert "1 <image> marks for 0 images" in reason(prompt="<image> What?")
    assert len(parse(prompt="What?", images=["a.png", "b.png"]).images) == 2


def test_errors_survive_pickling():
    error = pickle.loads(pickle.dumps(RecordError("x:1", "broken")))
    assert (error.where, error.reason, str(error)) == ("x:1", "broken", "x:1: broken")


def test_videos_are_lists_of_frames_and_sounds_a_list():
    record = parse(prompt="What?", videos=[["a/0.png", {"bytes": b"PNG"}], []], sounds=["a.wav", b"RIFF"])
    assert record.videos == (("/data/a/0.png", b"PNG"), ())
    assert record.sounds == ("/data/a.wav", b"RIFF")
    assert record.meta == {}
    assert parse(prompt="What?", videos=None, sounds=None).videos == parse(prompt="What?").sounds == ()


def test_pictures_of_the_rejected_answer_may_be_none_at_all():
    assert parse(prompt="What?", rejected_images=["b.png"]).rejected_images == ("/data/b.png",)
    assert parse(prompt="What?", rejected_images=[]).rejected_images == ()
    assert parse(prompt="What?", rejected_images=None).rejected_images is None


@pytest.mark.parametrize(
    "field, value, message",
    [
        ("videos", "a.mp4", "'videos' is a string: it must be a list"),
        ("videos", ["a.mp4"], "'videos'[0] is a string: it must be a list; a video is a list of its frames"),
        ("videos", [["a.png", 3]], "'videos'[0][1] is a number"),
        ("videos", [["../a.png"]], "'videos'[0][0] '../a.png' leaves the data root /data"),
        ("sounds", "a.wav", "'sounds' is a string: it must be a list"),
        ("sounds", ["a.wav", ""], "'sounds'[1] is empty"),
        ("sounds", ["https://host/a.wav"], "only files are read"),
        ("rejected_images", "a.png", "'rejected_images' is a string: it must be a list"),
        ("rejected_images", ["/etc/passwd"], "'rejected_images'[0] '/etc/passwd' leaves the data root /data"),
    ],
)
def test_media_of_every_kind_are_checked_alike(field, value, message):
    assert message in reason(prompt="What?", **{field: value})


def test_marks_must_match_videos_and_sounds_too():
    assert "2 <video> marks for 1 videos" in reason(prompt="<video><video> What?", videos=[["a.png"]])
    assert "1 <audio> marks for 0 audios" in reason(prompt="<audio> What?", image="a.png")
    mixed = parse(prompt="<image> and <audio>?", image="a.png", sounds=["a.wav"], videos=[["b.png"]])
    assert (len(mixed.images), len(mixed.sounds), len(mixed.videos)) == (1, 1, 1)


MORE = {
    "prompt": "What is it?",
    "chosen": "a cup",
    "answers": {"revised": "a mug", "absent": None},
    "ranked": ["a cup", "a cap"],
    "scores": [1, 0.5],
    "views": {"similar": ["b.png"]},
    "spans": {"chosen": [{"start": 0, "end": 5, "label": "accurate"}], "revised": [{"start": 2, "end": 5}]},
    "margin": 0.5,
}


def test_what_some_methods_need_besides_is_read(tmp_path):
    record = parse_record(MORE, "f:1", tmp_path)
    assert record.answers == {"revised": "a mug"} and record.ranked == ("a cup", "a cap")
    assert record.scores == (1.0, 0.5) and record.views == {"similar": (str(tmp_path / "b.png"),)}
    assert record.spans == {"chosen": (Span(0, 5, "accurate"),), "revised": (Span(2, 5, 1.0),)}
    assert record.meta == {"margin": 0.5}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answers": {"revised": 3}}, "'revised' is a number"),
        ({"ranked": ["a cup", ""]}, r"'ranked\[1\]' is empty"),
        ({"ranked": ["a cup", None]}, r"'ranked'\[1\] is null: leave it out, and its score"),
        ({"scores": [1, float("nan")]}, "'scores' holds something that is no number"),
        ({"spans": {"chosen": [{"start": 0, "end": 5, "label": float("nan")}]}}, "must be"),
        ({"scores": [1]}, "1 'scores' for 2 'ranked' answers"),
        ({"scores": [1, "N/A"]}, "'scores' holds something that is no number"),
        ({"views": {"similar": ["../../etc/passwd"]}}, "leaves the data root"),
        ({"spans": {"rejected": []}}, r"'spans'\['rejected'\] marks parts of an answer that is not there"),
        ({"spans": {"chosen": [{"start": 3, "end": 9}]}}, "goes from 3 to 9 in a text of 5 characters"),
        ({"spans": {"chosen": [{"start": 3, "end": 3}]}}, "goes from 3 to 3"),
        ({"spans": {"chosen": [[0, 5]]}}, r"'spans'\['chosen'\]\[0\] must be"),
    ],
)
def test_what_some_methods_need_is_checked(tmp_path, change, message):
    with pytest.raises(RecordError, match=message):
        parse_record(MORE | change, "f:1", tmp_path)


def test_columns_that_only_share_a_name_stay_as_they_are(tmp_path):
    row = {"prompt": "What is it?", "answers": ["a mug"], "scores": {"good": 1}, "views": [1], "ranked": "first"}
    record = parse_record(row, "f:1", tmp_path)
    assert record.meta == {key: row[key] for key in row if key != "prompt"}
    assert (record.answers, record.scores, record.views, record.ranked) == ({}, (), {}, ())
