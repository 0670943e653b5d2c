"""From a prompt and its media to what a published model takes, with its own tokenizer, template and processor."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from align_jax import registry
from align_jax.data.chat import PLAIN, VICUNA, Chat, read_template
from align_jax.data.processors.base import Processor, Shown
from align_jax.data.records import MARKS, RecordError, check_marks
from align_jax.types import Media, Prompt

READERS = ("gemma3_text", "llama", "mistral", "qwen2", "qwen3")  # model types that take text only
VOCABULARIES = ("tokenizer.json", "tokenizer.model", "vocab.json and merges.txt")
KINDS = tuple(mark.strip("<>") for mark in MARKS)


def open_inputs(folder: str | Path, model_type: str, **options: Any) -> "PublishedInputs":
    """Inputs of the checkpoint in `folder`: tokenizer, chat template, and the processor of `model_type`.

    Without a template, LLaVA models are asked in Vicuna's format and others in plain text (see data/chat.py).

    Args:
      folder: of a published checkpoint; the weights may be elsewhere.
      model_type: of its config.json.
      options: of the processor (data/processors/<model_type>.py).

    Raises:
      FileNotFoundError: no such folder, or a file is missing from it; names what is expected.
      ValueError: unknown model type or option, or files that are not of one checkpoint.
    """
    folder = str(folder)
    if not any((Path(folder) / name.split()[0]).exists() for name in VOCABULARIES):
        raise FileNotFoundError(
            f"{folder} has no tokenizer: it needs tokenizer_config.json, and one of {', '.join(VOCABULARIES)}"
        )
    from transformers import AutoTokenizer  # takes seconds

    if model_type in READERS and options:
        raise ValueError(f"a {model_type} reads text only: there is no processor that takes {', '.join(options)}")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    package = "align_jax.data.processors"
    processor = None if model_type in READERS else registry.build(package, model_type, folder=folder, **options)()
    return PublishedInputs(folder, model_type, options, tokenizer, processor)


class PublishedInputs:
    """Text, pictures, videos and recordings as a published checkpoint takes them; made by `open_inputs`.

    As in transformers, special tokens that are written in a text are special tokens. Those that features take the
    place of are refused.

    Attributes:
      empty: media of a prompt without any; None for a model that only reads.
      turned: whether prompts have positions of their own.
      eos_id: of the token that ends an answer.
    """

    def __init__(
        self, folder: str, model_type: str, options: dict[str, Any], tokenizer: Any, processor: Processor | None
    ):
        self.folder, self.model_type, self.options = folder, model_type, options
        self.tokenizer, self.processor = tokenizer, processor
        template = read_template(Path(folder), tokenizer, media=processor is not None)
        fallback = VICUNA if model_type.startswith("llava") else PLAIN
        self.chat = Chat(tokenizer, template or fallback, processor.marks if processor else {})
        # Text models with a template have it write all of their special tokens; all others complete what it wrote.
        self._completed = processor is not None or template is None
        self.placeholder_ids = tuple(self._id(token) for token in processor.placeholders) if processor else ()
        self.eos_id = self._id(self.chat.end)
        self.pad_id = self.eos_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        self.sample_rate = processor.sample_rate if processor else 0
        self.empty: Media | None = processor.join([]) if processor else None
        self.turned = processor is not None and processor.positions(np.zeros(1, np.int32), []) is not None
        self._anchors = [(text, self._ids(text)) for text in (self.chat.opening, "\n")]
        self._check_config()

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.folder, self.model_type, self.options)

    @property
    def vocab_size(self) -> int:
        return len(self.tokenizer)

    def prompt(
        self,
        text: str,
        images: Sequence[np.ndarray] = (),
        videos: Sequence[Sequence[np.ndarray]] = (),
        sounds: Sequence[np.ndarray] = (),
    ) -> Prompt:
        """The whole prompt, up to where the answer begins.

        Args:
          text: may say with marks (`<image>`, `<video>`, `<audio>`) where media belong; else they come first.
          images: uint8[H, W, 3].
          videos: frames uint8[H, W, 3] of each.
          sounds: f32[samples] at `sample_rate`.

        Raises:
          RecordError: media that the model does not take, or a number of marks or placeholders that does not fit them.
        """
        counts = dict(zip(KINDS, map(len, (images, videos, sounds)), strict=True))
        for mark, kind in zip(MARKS, KINDS, strict=True):
            self._check_kind(kind, counts[kind])
            check_marks(text, counts[kind], "prompt", mark)
        written = self.chat.render(text, counts)
        if self.processor is None:
            return Prompt(self._encode(written))
        written, shown = self._show(written, dict(zip(KINDS, (images, videos, sounds), strict=True)))
        ids, media = self._encode(written), self.processor.join(shown)
        self._check_placeholders(ids, shown, media)
        return Prompt(ids, media, self.processor.positions(ids, shown))

    def completion(self, text: str) -> np.ndarray:
        """i32[r]: the answer as it is tokenised behind a prompt, ending with the token that ends a turn.

        Raises:
          RecordError: it says what features take the place of.
        """
        for token in self.processor.placeholders if self.processor else ():
            if token in text:
                raise RecordError("completion", f"contains {token}, a special token of this model: take it out")
        return np.array(self._behind_anchor(text)[1], np.int32)

    def places(self, text: str) -> np.ndarray:
        """i32[r, 2]: characters of each token of `completion(text)`, from and up to.

        Raises:
          RecordError: the tokenizer cannot tell.
        """
        written, ids = self._behind_anchor(text)
        if not self.tokenizer.is_fast:
            raise RecordError("completion", "has marked parts, which the tokenizer of this model cannot find")
        offsets = self.tokenizer(written, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        start = len(written) - len(self.chat.after) - len(text)
        return np.clip(np.array(offsets[len(offsets) - len(ids) :], np.int32) - start, 0, len(text))

    def _behind_anchor(self, text: str) -> tuple[str, list[int]]:
        """What is tokenised, and the ids of the completion: its last ones."""
        rest = self.chat.before + text + self.chat.after
        for anchor, begun in self._anchors:  # alone, some tokenizers would put a space before it
            ids = self._ids(anchor + rest)
            if ids[: len(begun)] == begun:
                return anchor + rest, ids[len(begun) :]
        return rest, self._ids(rest)

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """Text of a completion: up to the first `eos_id`, without special tokens and outer white space."""
        ids = np.asarray(ids).tolist()
        ids = ids[: ids.index(self.eos_id)] if self.eos_id in ids else ids
        text = self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False).strip()
        return text.removeprefix(self.chat.before.strip()).strip()

    def _show(self, written: str, media: dict[str, Sequence]) -> tuple[str, list[Shown]]:
        """The text with placeholders, and the media in the order in which it has them."""
        marks = self.processor.marks
        kinds = {mark: kind for kind, mark in marks.items()}
        first, *rest = re.split("({})".format("|".join(map(re.escape, kinds))), written)
        found = [kinds[mark] for mark in rest[::2]]
        for kind, mark in marks.items():
            if found.count(kind) != (expected := len(media[kind])):
                raise RecordError(
                    "prompt",
                    f"'prompt' became {found.count(kind)} {mark} for {expected} {kind}s: the text itself may contain "
                    f"{mark}, a special token of this model: take it out",
                )
        process = {"image": self.processor.images, "video": self.processor.videos, "audio": self.processor.sounds}
        queues = {kind: iter(process[kind](media[kind])) for kind in marks}
        shown = [next(queues[kind]) for kind in found]
        parts = (part for each, after in zip(shown, rest[1::2], strict=True) for part in (each.text, after))
        return first + "".join(parts), shown

    def _encode(self, written: str) -> np.ndarray:
        bos = self.tokenizer.bos_token
        return np.array(self._ids(written, self._completed and not (bos and written.startswith(bos))), np.int32)

    def _ids(self, text: str, special: bool = False) -> list[int]:
        return self.tokenizer(text, add_special_tokens=special)["input_ids"]

    def _id(self, token: str) -> int:
        token_id = self.tokenizer.convert_tokens_to_ids(token)
        if token_id is None or token_id == self.tokenizer.unk_token_id:
            raise ValueError(f"the tokenizer in {self.folder} has no token {token!r}, which a {self.model_type} needs")
        return token_id

    def _check_kind(self, kind: str, count: int) -> None:
        marks = self.processor.marks if self.processor else {}
        if count and kind not in marks:
            takes = f"takes {' and '.join(f'{kind}s' for kind in marks)} only" if marks else "reads text only"
            raise RecordError("prompt", f"has {count} {kind}s, and a {self.model_type} {takes}")

    def _check_placeholders(self, ids: np.ndarray, shown: Sequence[Shown], media: Media) -> None:
        found = int(np.isin(ids, self.placeholder_ids).sum())
        expected = sum(each.placeholders for each in shown)
        if found != expected or len(media.slots) != expected:
            tokens = " and ".join(self.processor.placeholders)
            raise RecordError(
                "prompt",
                f"'prompt' became {found} placeholders for media of {expected} (slots for {len(media.slots)}): the "
                f"text itself may contain {tokens}, special tokens of this model: take them out",
            )

    def _check_config(self) -> None:
        path = Path(self.folder) / "config.json"
        config = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        names = [f"{kind}_token_{key}" for kind in KINDS for key in ("id", "index")]
        known = {config[name] for name in names if config.get(name) is not None}
        if known and not known.issuperset(self.placeholder_ids):
            raise ValueError(
                f"{self.folder}: the tokenizer has {self.placeholder_ids} for {self.processor.placeholders}, "
                f"config.json has {sorted(known)}: the files are not of one checkpoint"
            )


def _reopen(folder: str, model_type: str, options: dict[str, Any]) -> PublishedInputs:
    return open_inputs(folder, model_type, **options)
