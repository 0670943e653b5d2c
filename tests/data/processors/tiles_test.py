"""Odd pictures through every processor that makes tiles, against what transformers makes of them."""

import dataclasses
import functools
import pickle

import numpy as np
import pytest
from PIL import Image

from align_jax import registry
from align_jax.data.media import read_image
from align_jax.data.published import PublishedInputs, open_inputs
from align_jax.data.records import RecordError
from tests import published
from tests.data.processors.odd_pictures import ODD

transformers = pytest.importorskip("transformers")

FAMILIES = ("llava", "llava_next", "llava_onevision", "internvl", "gemma3", "idefics3", "smolvlm")
WITH_VIDEOS = ("llava_onevision", "internvl", "smolvlm")
TEXT = "What is it?"
PICTURE = read_image(ODD["300x200"])


@dataclasses.dataclass(frozen=True)
class Made:
    family: str
    folder: str
    inputs: PublishedInputs

    def build(self, **options):
        return registry.build("align_jax.data.processors", self.family, folder=self.folder, **options)()

    @functools.cached_property
    def theirs(self):
        """The published processor."""
        tokenizer = transformers.AutoTokenizer.from_pretrained(self.folder)
        images = transformers.AutoImageProcessor.from_pretrained(self.folder, backend="pil")
        template = published.TEMPLATES[self.family]
        default = dict(patch_size=14, num_additional_image_tokens=1, vision_feature_select_strategy="default")
        seen = dict(num_image_tokens=9, vision_feature_select_strategy="full")
        name, videos, settings = {
            "llava": ("LlavaProcessor", (), default),
            "llava_next": ("LlavaNextProcessor", (), default),
            "llava_onevision": ("LlavaOnevisionProcessor", (None,), seen),
            "internvl": ("InternVLProcessor", (None,), dict(image_seq_length=4)),
            "gemma3": ("Gemma3Processor", (), dict(image_seq_length=4)),
            "idefics3": ("Idefics3Processor", (), dict(image_seq_len=4)),
            "smolvlm": ("SmolVLMProcessor", (None,), dict(image_seq_len=4)),
        }[self.family]
        return getattr(transformers, name)(images, tokenizer, *videos, **settings, chat_template=template)

    def say(self, text, pictures, **how):
        """What transformers makes of a prompt."""
        strings = self.family == "llava_next"  # its template takes no list
        marks = "<image>\n" * len(pictures) + text
        shown = [{"type": "image"} for _ in pictures]
        content = marks if strings else [*shown, {"type": "text", "text": text}]
        asked = [{"role": "user", "content": content}]
        # The tokenizer's, as that of processors would turn a string into a list.
        written = self.theirs.tokenizer.apply_chat_template(
            asked, chat_template=published.TEMPLATES[self.family], tokenize=False, add_generation_prompt=True
        )
        images = [[Image.fromarray(each) for each in pictures]] if pictures else None
        special = not written.startswith("<s>")
        return self.theirs(text=[written], images=images, add_special_tokens=special, return_tensors="np", **how)


@pytest.fixture(scope="module", params=FAMILIES)
def made(request, tmp_path_factory):
    folder = str(tmp_path_factory.mktemp(request.param))
    published.make_inputs(folder, request.param)
    with pytest.MonkeyPatch.context() as patch:
        # Without torchvision there are no video processors, and those that want one refuse to be made.
        patch.setattr(transformers.ProcessorMixin, "check_argument_for_proper_class", lambda self, name, it: type(it))
        patch.setattr("transformers.models.smolvlm.processing_smolvlm.num2words", str)
        yield Made(request.param, folder, open_inputs(folder, request.param))


def same_pixels(ours: np.ndarray, theirs: np.ndarray):
    """Exactly."""
    theirs = np.asarray(theirs)
    theirs = theirs.reshape(-1, *theirs.shape[-3:])
    np.testing.assert_array_equal(ours.transpose(0, 3, 1, 2), theirs)
    assert ours.dtype == np.float32


@pytest.mark.parametrize("name", ODD)
def test_odd_pictures_give_the_tokens_and_pixels_of_transformers(made, name):
    picture = read_image(ODD[name])
    ours, theirs = made.inputs.prompt(TEXT, [picture]), made.say(TEXT, [picture])
    np.testing.assert_array_equal(ours.ids, theirs["input_ids"][0])
    same_pixels(ours.media.pixels, theirs["pixel_values"])
    assert ours.positions is None and ours.ids.dtype == np.int32


def test_several_pictures_give_the_tokens_and_pixels_of_transformers(made):
    pictures = [read_image(ODD[name]) for name in ("300x200", "101x37", "3x3")]
    ours, theirs = made.inputs.prompt(TEXT, pictures), made.say(TEXT, pictures)
    np.testing.assert_array_equal(ours.ids, theirs["input_ids"][0])
    pixels = np.asarray(theirs["pixel_values"])
    if made.family == "llava_next":
        pixels = np.concatenate([each[each.any((1, 2, 3))] for each in pixels])  # the rest is padding
    same_pixels(ours.media.pixels, pixels)


def test_prompts_without_pictures_give_the_tokens_of_transformers(made):
    ours, theirs = made.inputs.prompt(TEXT), made.say(TEXT, [])
    np.testing.assert_array_equal(ours.ids, theirs["input_ids"][0])
    empty = made.inputs.empty
    assert len(empty.pixels) == len(empty.slots) == len(empty.weights) == 0
    for name, values in vars(ours.media).items():
        assert values.shape == vars(empty)[name].shape and values.dtype == vars(empty)[name].dtype


def test_every_tile_is_counted_once(made):
    processor = made.inputs.processor
    first, second = processor.images([PICTURE, PICTURE[:90]])
    joined = processor.join([first, second, first])
    tiles = len(first.media.pixels)
    np.testing.assert_array_equal(joined.pixels[:tiles], first.media.pixels)
    np.testing.assert_array_equal(joined.slots[: first.placeholders], first.media.slots)
    after = joined.slots[first.placeholders : first.placeholders + second.placeholders]
    moved = np.where(second.media.slots < 0, -1, second.media.slots + tiles * processor.features)
    np.testing.assert_array_equal(after, moved)
    assert joined.slots.max() < len(joined.pixels) * processor.features
    np.testing.assert_allclose(joined.weights.sum(1), 1.0, rtol=1e-6)
    assert len(joined.slots) == 2 * first.placeholders + second.placeholders == len(joined.weights)


def test_videos_are_frames_that_are_one_tile_each(made):
    video = [PICTURE, PICTURE[::-1], PICTURE[:, ::-1]]
    if made.family not in WITH_VIDEOS:
        with pytest.raises(RecordError, match=f"has 1 videos, and a {made.family} takes images only"):
            made.inputs.prompt(TEXT, videos=[video])
        with pytest.raises(RecordError, match="sees pictures only"):
            made.inputs.processor.videos([video])
        return
    (shown,) = made.inputs.processor.videos([video])
    assert shown.media.pixels.shape[0] == 3
    size = {"height": made.inputs.processor.size, "width": made.inputs.processor.size}
    resample = made.inputs.processor.image_processor.resample
    for frame, tile in zip(video, shown.media.pixels, strict=True):
        picture = Image.fromarray(frame)
        if made.family == "smolvlm":  # in two steps: to the longer side of its videos, then square
            picture = picture.resize((38, 56), resample)
        square = np.asarray(picture.resize(tuple(size.values()), resample), np.float32) / 255
        theirs = (square - np.float32(published.MEAN)) / np.float32(published.STD)
        np.testing.assert_allclose(tile, theirs, atol=1e-5)
    prompt = made.inputs.prompt("One <video> or <image>?", [PICTURE], [video])
    assert len(prompt.media.slots) == shown.placeholders + made.inputs.processor.images([PICTURE])[0].placeholders
    np.testing.assert_array_equal(prompt.media.pixels[:3], shown.media.pixels)
    with pytest.raises(RecordError, match="without frames"):
        made.inputs.prompt(TEXT, videos=[[]])


@pytest.mark.parametrize("frames", [1, 3])
def test_text_of_a_video_is_that_of_transformers(made, frames):
    if made.family not in WITH_VIDEOS:
        pytest.skip("sees no videos")
    options = {"fps": 0.04} if made.family == "smolvlm" else {}
    (shown,) = made.build(**options).videos([[PICTURE] * frames])
    pixels = np.zeros((1, frames, 3, 8, 8))
    when = [t / 0.04 for t in range(frames)]
    metadata = transformers.video_utils.VideoMetadata(total_num_frames=frames, fps=0.04, duration=frames / 0.04)
    metadata.frames_indices = list(range(frames))
    assert metadata.timestamps == when
    seen = {"pixel_values": pixels, "pixel_values_videos": pixels, "video_metadata": [metadata]}
    theirs = made.theirs.replace_video_token(seen, 0)
    words = {"1": "one", "3": "three"}[str(frames)]
    assert shown.text == theirs.replace(f"of {frames} frames", f"of {words} frames")
    token = made.inputs.processor.placeholders[-1]
    assert shown.text.count(token) == shown.placeholders == len(shown.media.slots)


def test_options_change_how_many_tiles_there_are(made):
    option = {
        "llava_next": {"image_grid_pinpoints": [[28, 56]]},
        "llava_onevision": {"image_grid_pinpoints": [[42, 84]]},
        "internvl": {"max_tiles": 2},
        "gemma3": {"pan_and_scan": True, "min_crop_size": 20},
        "idefics3": {"longest_edge": 112},
        "smolvlm": {"split": False},
    }.get(made.family)
    if option is None:
        with pytest.raises(ValueError, match="does not take max_tiles"):
            made.build(max_tiles=1)
        return
    (usual,), (other,) = made.build().images([PICTURE]), made.build(**option).images([PICTURE])
    assert len(other.media.pixels) != len(usual.media.pixels)


def test_a_copy_for_a_worker_sees_the_same(made):
    copy = pickle.loads(pickle.dumps(made.inputs.processor))
    ours, theirs = (processor.images([PICTURE])[0] for processor in (made.inputs.processor, copy))
    np.testing.assert_array_equal(ours.media.pixels, theirs.media.pixels)
    assert ours.text == theirs.text


def test_what_these_models_cannot_take_is_refused(made):
    with pytest.raises(RecordError, match="does not listen"):
        made.inputs.processor.sounds([np.zeros(5, np.float32)])
    processor = dataclasses.replace(made.inputs.processor, size=13)
    with pytest.raises(ValueError, match="not of one checkpoint"):
        processor.images([PICTURE])


def test_crops_of_long_pictures_are_those_of_transformers(tmp_path):
    published.make_inputs(tmp_path, "gemma3")
    how = dict(do_pan_and_scan=True, pan_and_scan_min_crop_size=20, pan_and_scan_max_num_crops=4)
    with pytest.MonkeyPatch.context():
        made = Made("gemma3", str(tmp_path), open_inputs(tmp_path, "gemma3", pan_and_scan=True, min_crop_size=20))
        ours = made.inputs.prompt(TEXT, [PICTURE, PICTURE[:100]])
        theirs = made.say(TEXT, [PICTURE, PICTURE[:100]], pan_and_scan_min_ratio_to_activate=1.2, **how)
    np.testing.assert_array_equal(ours.ids, theirs["input_ids"][0])
    same_pixels(ours.media.pixels, theirs["pixel_values"])
    assert len(ours.media.pixels) > 3


@pytest.mark.parametrize(
    ("number", "words"),
    [(0, "zero"), (7, "seven"), (19, "nineteen"), (20, "twenty"), (64, "sixty-four"), (100, "one hundred")]
    + [(101, "one hundred and one"), (842, "eight hundred and forty-two")],
)
def test_numbers_are_written_in_words(number, words):
    from align_jax.data.processors.smolvlm import in_words

    assert in_words(number) == words


def test_unknown_towers_are_refused(tmp_path):
    config = published.make_inputs(tmp_path, "llava")
    config.vision_feature_select_strategy = "full"
    config.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="only all patches can be read"):
        open_inputs(tmp_path, "llava")


def test_missing_files_are_named(tmp_path):
    published.make_inputs(tmp_path, "llava")
    (tmp_path / "preprocessor_config.json").unlink()
    with pytest.raises(FileNotFoundError, match="needs config.json, and preprocessor_config.json or processor_config"):
        open_inputs(tmp_path, "llava")
