"""Prompts and answers of published checkpoints: templates, marks and tokens, and what is wrong with folders."""

import json
import pickle

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import processors as post_processors

from align_jax.data.chat import PLAIN, VICUNA
from align_jax.data.examples import Encode
from align_jax.data.published import READERS, open_inputs
from align_jax.data.records import Record, RecordError
from tests import published

transformers = pytest.importorskip("transformers")

QUESTION, ANSWER = "What is it?\nSay it, please.", "A blue cat, and\n\na table."
PICTURE = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """Inputs of a family, made once."""
    made = {}

    def get(model_type):
        if model_type not in made:
            folder = tmp_path_factory.mktemp(model_type)
            published.make_inputs(folder, model_type)
            made[model_type] = open_inputs(folder, model_type)
        return made[model_type]

    return get


def media_of(inputs):
    """A picture, video or recording of each kind that a model takes."""
    marks = inputs.processor.marks if inputs.processor else {}
    return (
        [PICTURE] * ("image" in marks),
        [[PICTURE, PICTURE]] * ("video" in marks),
        [np.ones(9000, np.float32)] * ("audio" in marks),
    )


def whole(inputs, question=QUESTION, answer=ANSWER):
    """Ids of question and answer as the template writes them in one go."""
    turns = [
        {"role": role, "content": text if not inputs.chat.takes_items else [{"type": "text", "text": text}]}
        for role, text in (("user", question), ("assistant", answer))
    ]
    template = published.TEMPLATES[inputs.model_type]
    written = inputs.tokenizer.apply_chat_template(turns, chat_template=template, tokenize=False)
    special = inputs.processor is not None and not written.startswith("<s>")
    return inputs.tokenizer(written, add_special_tokens=special)["input_ids"]


@pytest.mark.parametrize("model_type", published.SPECIAL)
def test_prompt_and_answer_are_the_whole_conversation(opened, model_type):
    inputs = opened(model_type)
    ours = [*inputs.prompt(QUESTION).ids, *inputs.completion(ANSWER)]
    theirs = whole(inputs)
    assert ours[-1] == inputs.eos_id
    # Behind an answer, LLaVA-1.5's template writes a space and no end.
    assert ours[:-1] == theirs[: len(ours) - 1]
    assert model_type == "llava" or theirs[len(ours) - 1] == inputs.eos_id
    end = {"llama": "<|eot_id|>", "idefics3": "<end_of_utterance>", "smolvlm": "<end_of_utterance>"}
    end |= dict.fromkeys(("llava", "llava_next", "mistral"), "</s>")
    end |= dict.fromkeys(("gemma3", "gemma3_text"), "<end_of_turn>")
    assert inputs.chat.end == end.get(model_type, "<|im_end|>")


@pytest.mark.parametrize("model_type", published.SPECIAL)
def test_a_copy_for_a_worker_says_the_same(opened, model_type):
    inputs = opened(model_type)
    copy = pickle.loads(pickle.dumps(inputs))
    ours, theirs = (each.prompt(QUESTION, *media_of(each)) for each in (inputs, copy))
    np.testing.assert_array_equal(ours.ids, theirs.ids)
    assert (ours.media is None) == (model_type in READERS)
    for name, values in vars(ours.media).items() if ours.media else ():
        np.testing.assert_array_equal(values, vars(theirs.media)[name])
        assert values.shape[1:] == vars(inputs.empty)[name].shape[1:]
    assert inputs.turned == (ours.positions is not None) == model_type.startswith("qwen") * model_type.endswith("_vl")
    if inputs.turned:
        assert ours.positions.shape == (len(ours.ids), 3)


@pytest.mark.parametrize("model_type", published.SPECIAL)
def test_answers_are_read_back(opened, model_type):
    inputs = opened(model_type)
    ids = inputs.completion(ANSWER)
    assert inputs.decode(ids) == inputs.decode([*ids, *inputs.completion("more")]) == ANSWER
    assert inputs.decode(ids[:-1]) == ANSWER and inputs.decode([inputs.eos_id]) == ""
    assert ids.dtype == np.int32 and inputs.vocab_size > max(ids.max(), *inputs.placeholder_ids, inputs.pad_id)


def sentence_piece(legacy: bool, unigram: bool) -> transformers.PreTrainedTokenizerFast:
    """A tokenizer that writes spaces as ▁, with one before every text."""
    special = ["<unk>", "<pad>", "<s>", "</s>", "<image>"]
    trainer = trainers.BpeTrainer
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    how = dict(vocab_size=400, special_tokens=special, show_progress=False)
    if unigram:
        tokenizer, trainer = Tokenizer(models.Unigram()), trainers.UnigramTrainer
        how |= dict(unk_token="<unk>")
    if legacy:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    texts = [*published.TEXTS, QUESTION, ANSWER, "[INST] USER: ASSISTANT: [/INST]"]
    tokenizer.train_from_iterator([letter for text in texts for letter in (text, *text.split())], trainer(**how))
    tokenizer.post_processor = post_processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )


@pytest.mark.parametrize("unigram", [False, True])
@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("model_type", ["llava", "llava_next", "mistral"])
def test_no_space_is_put_before_an_answer(tmp_path, model_type, legacy, unigram):
    tokenizer = sentence_piece(legacy, unigram)
    published.make_inputs(tmp_path, model_type)
    config = published.make_config(model_type, tokenizer, len(tokenizer))
    config.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    inputs = open_inputs(tmp_path, model_type)
    ours = [*inputs.prompt(QUESTION).ids, *inputs.completion(ANSWER)]
    assert ours[:-1] == whole(inputs)[: len(ours) - 1] and ours[-1] == tokenizer.eos_token_id
    assert inputs.decode(inputs.completion(ANSWER)) == ANSWER


def written(inputs, *prompt) -> str:
    text = inputs.tokenizer.decode(inputs.prompt(*prompt).ids)
    for token in inputs.processor.placeholders:
        while token * 2 in text:
            text = text.replace(token * 2, token)
    return text


@pytest.mark.parametrize("model_type", published.SPECIAL)
def test_places_say_which_characters_a_token_stands_for(opened, model_type):
    inputs, text = opened(model_type), "a red circle, a blue"
    ids, places = inputs.completion(text), inputs.places(text)
    assert len(places) == len(ids) and places.min() >= 0 and places.max() <= len(text)
    starts, ends = places.T
    inside = ends > starts
    assert "".join(text[a:b] for a, b in places[inside]).replace(" ", "") == text.replace(" ", "")
    for id_, (a, b) in zip(ids[inside], places[inside], strict=True):
        assert inputs.tokenizer.decode([id_]).strip() == text[a:b].strip()
    assert not inside[-1], "the end of a turn stands for nothing"


def test_media_stand_where_their_marks_are(opened):
    inputs, two = opened("llava_onevision"), [PICTURE, PICTURE[:30]]
    start, end = written(inputs, "@@").split("@@")
    seen = "<image>\n"
    assert written(inputs, "a<image>b <image>", two) == f"{start}a{seen}b {seen}{end}"
    assert written(inputs, "@@", two) == f"{start}{seen}{seen}@@{end}"
    assert written(inputs, "a <video> b", two[:1], [[PICTURE]]) == f"{start}{seen}a <video>\n b{end}"
    assert written(inputs, "<image>\n<image>\na\n<video>", two, [[PICTURE]]) == f"{start}{seen}{seen}a\n<video>\n{end}"
    later = inputs.prompt("<video> then <image>", [PICTURE], [[PICTURE] * 2])
    np.testing.assert_array_equal(later.media.pixels[:2], inputs.processor.videos([[PICTURE] * 2])[0].media.pixels)
    assert later.media.slots.max() >= 2 * 9


def test_templates_that_take_strings_are_given_strings(opened):
    inputs = opened("llava_next")
    assert written(inputs, "a", [PICTURE] * 2) == "<s>[INST] <image>\n<image>\na [/INST]"
    assert written(inputs, "a <image> b", [PICTURE]) == "<s>[INST] a <image> b [/INST]"
    assert written(inputs, "<image>\na", [PICTURE]) == "<s>[INST] <image>\na [/INST]"


def test_what_a_template_has_no_rule_for_is_text(opened):
    inputs = opened("smolvlm")
    text = inputs.tokenizer.decode(inputs.prompt("What?", videos=[[PICTURE] * 2]).ids)
    assert text.startswith("<|im_start|>User: You are provided the following series of two frames from a 0:00:02 ")
    assert text.endswith("<fake_token_around_image>\n\nWhat?<end_of_utterance>\nAssistant:")


def test_templates_may_ask_for_the_key_of_a_medium(tmp_path):
    published.make_inputs(tmp_path, "qwen2_audio")
    path = tmp_path / "chat_template.jinja"  # the first release of Qwen2-Audio did not read the type
    path.write_text(path.read_text().replace("item['type'] == 'audio'", "'audio' in item"))
    inputs = open_inputs(tmp_path, "qwen2_audio")
    assert "Audio: <|audio_bos|><|AUDIO|><|audio_eos|>" in inputs.chat.render("What?", {"audio": 1})


def test_a_template_may_put_pictures_before_words(opened):
    inputs = opened("llava")
    assert written(inputs, "a <image> b", [PICTURE]) == "<s>USER: <image>\na  b ASSISTANT:"
    assert written(inputs, "<image>\na", [PICTURE]) == written(inputs, "a\n<image>", [PICTURE]).replace("\n ", " ")


def test_a_template_that_ends_a_turn_behind_every_text_is_given_one(tmp_path):
    published.make_inputs(tmp_path, "llava_next")
    (tmp_path / "chat_template.jinja").write_text(
        "{% for m in messages %}{{ m['role'] + ':' }}"
        "{% for item in m['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>' }}{% endfor %}"
        "{% for item in m['content'] | selectattr('type', 'equalto', 'text') %}{{ '\n' + item['text'] + '</s>' }}"
        "{% endfor %}{% endfor %}{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"
    )
    inputs = open_inputs(tmp_path, "llava_next")
    assert written(inputs, "a <image> b", [PICTURE]) == "<s>user:<image>\na  b</s>assistant:"
    assert inputs.tokenizer.decode(inputs.completion("c")) == "\nc</s>"


def test_text_is_begun_once(opened):
    for model_type in published.WITH_BOS:
        ids = opened(model_type).prompt(QUESTION).ids
        assert ids[0] == 1 and (ids == 1).sum() == 1
    assert 1 not in opened("qwen2_vl").prompt(QUESTION).ids


@pytest.mark.parametrize("model_type", [name for name in published.SPECIAL if name not in READERS])
def test_placeholders_in_the_words_of_a_user_are_refused(opened, model_type):
    inputs = opened(model_type)
    media = media_of(inputs)
    special = {*inputs.processor.placeholders, *inputs.processor.marks.values()}
    for token in special - {"<image>", "<video>"}:
        for some in (media, ((), (), ())):
            with pytest.raises(RecordError, match=r"'prompt' became \d+ .* for .* itself may contain .*take"):
                inputs.prompt(f"Is {token} it?", *some)
    for token in special & {"<image>", "<video>"}:
        with pytest.raises(RecordError, match=rf"'prompt' has 1 {token} marks for 0 "):
            inputs.prompt(f"Is {token} it?")


@pytest.mark.parametrize("model_type", [name for name in published.SPECIAL if name not in READERS])
def test_placeholders_in_an_answer_are_refused(opened, model_type):
    inputs = opened(model_type)
    encode = Encode(inputs, prompt_length=99, completion_length=9)
    for token in inputs.processor.placeholders:
        record = Record("r1", "What?", chosen="a cat", rejected=f"a {token} cat", where="pairs.jsonl:3")
        with pytest.raises(RecordError) as caught:
            encode(record)
        reason = f"'rejected' contains {token}, a special token of this model: take it out"
        assert str(caught.value) == f"pairs.jsonl:3: {reason}"


def test_a_count_that_does_not_fit_names_both_numbers(opened):
    with pytest.raises(RecordError, match=r"became 5 placeholders for media of 4 \(slots for 4\).*<image_soft_token>"):
        opened("gemma3").prompt("Is <image_soft_token> it?", [PICTURE])
    with pytest.raises(RecordError, match=r"became 2 <\|image_pad\|> for 1 images"):
        opened("qwen2_vl").prompt("Is <|image_pad|> it?", [PICTURE])


def test_marks_must_match_the_media(opened):
    with pytest.raises(RecordError, match="'prompt' has 2 <image> marks for 1 images"):
        opened("llava").prompt("<image> <image>", [PICTURE])


def test_what_a_model_does_not_take_is_refused(opened):
    sound = [np.zeros(9000, np.float32)]
    with pytest.raises(RecordError, match="has 1 videos, and a llava takes images only"):
        opened("llava").prompt("a", videos=[[PICTURE]])
    with pytest.raises(RecordError, match="has 1 audios, and a llava_onevision takes images and videos only"):
        opened("llava_onevision").prompt("a", sounds=sound)
    with pytest.raises(RecordError, match="has 2 images, and a qwen3 reads text only"):
        opened("qwen3").prompt("a", [PICTURE] * 2)


def test_without_a_template_there_is_a_plain_one(tmp_path):
    for name in ("llava", "qwen2"):
        published.make_inputs(tmp_path / name, name, template=False)
    llava, qwen = (open_inputs(tmp_path / name, name) for name in ("llava", "qwen2"))
    assert written(llava, "a", [PICTURE]) == "<s>USER: <image>\na ASSISTANT:"
    assert llava.tokenizer.decode(llava.completion("b")) == " b</s>"
    assert qwen.tokenizer.decode(qwen.prompt("a").ids) == "a\n"
    assert qwen.tokenizer.decode(qwen.completion("b")) == "b</s>"
    assert VICUNA != PLAIN


def test_templates_are_looked_for_where_transformers_does(tmp_path):
    """Those of media models come before that of the language model they grew from."""
    marked = {name: published.TEMPLATES["llava"].replace("ASSISTANT:", f"{name}:") for name in "abcd"}

    def opening():
        return open_inputs(tmp_path, "llava").chat.opening.strip()

    published.make_inputs(tmp_path, "llava", template=False)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({**settings, "chat_template": marked["d"]}))
    assert opening() == "d:"
    (tmp_path / "processor_config.json").write_text(json.dumps({"chat_template": marked["c"]}))
    assert opening() == "c:"
    (tmp_path / "chat_template.json").write_text(json.dumps({"chat_template": marked["b"]}))
    assert opening() == "b:"
    (tmp_path / "chat_template.jinja").write_text(marked["a"])
    assert opening() == "a:"


def test_what_a_template_writes_before_an_answer_is_part_of_it(tmp_path):
    published.make_inputs(tmp_path, "qwen3")
    thinking = published.TEMPLATES["qwen3"].replace(
        "{% if message['content'] is string %}",
        "{% if message['role'] == 'assistant' %}{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}"
        "{% if message['content'] is string %}",
    )
    (tmp_path / "chat_template.jinja").write_text(thinking)
    inputs = open_inputs(tmp_path, "qwen3")
    ids = inputs.completion("b")
    assert inputs.tokenizer.decode(ids) == "<think>\n\n</think>\n\nb<|im_end|>"
    assert inputs.decode(ids) == "b"
    assert inputs.tokenizer.decode(inputs.prompt("a").ids).endswith("<|im_start|>assistant\n")


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere has no tokenizer: it needs .*tokenizer.json"):
        open_inputs(tmp_path / "nowhere", "llava")
    published.make_inputs(tmp_path, "qwen2_vl")
    (tmp_path / "preprocessor_config.json").unlink()
    with pytest.raises(FileNotFoundError, match="needs config.json, and preprocessor_config.json or"):
        open_inputs(tmp_path, "qwen2_vl")
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(FileNotFoundError, match="has no tokenizer"):
        open_inputs(tmp_path, "qwen2_vl")


def test_wrong_settings_are_errors(tmp_path, opened):
    folder = opened("llava").folder
    with pytest.raises(ValueError, match="nothing is called 'llava_9'.*llava_next.*qwen2_vl"):
        open_inputs(folder, "llava_9")
    with pytest.raises(ValueError, match="'llava' does not take max_tiles"):
        open_inputs(folder, "llava", max_tiles=2)
    with pytest.raises(ValueError, match="a llama reads text only: there is no processor that takes max_tiles"):
        open_inputs(opened("llama").folder, "llama", max_tiles=2)


def test_files_of_two_checkpoints_are_noticed(tmp_path):
    config = published.make_inputs(tmp_path, "llava")
    config.image_token_id = 77
    config.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"the tokenizer has \(\d+,\) for \('<image>',\), config.json has \[77\]"):
        open_inputs(tmp_path, "llava")
    published.make_tokenizer("qwen2").save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="has no token '<image>', which a llava needs"):
        open_inputs(tmp_path, "llava")


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        ("{% for m in messages %}{{ m['role'] }}{% endfor %}", "loses what a user says"),
        ("{{ messages[0]['content'] }}", "loses what an assistant says"),
        ("{{ raise_exception('system first') }}", "does not take a lone question: system first"),
    ],
)
def test_templates_that_lose_text_are_errors(tmp_path, template, complaint):
    published.make_inputs(tmp_path, "llava")
    (tmp_path / "chat_template.jinja").write_text(template)
    with pytest.raises(ValueError, match=complaint):
        open_inputs(tmp_path, "llava")
