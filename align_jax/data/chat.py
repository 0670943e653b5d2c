"""How a published model wants a question and its answer written down: its chat template, and what to make of it."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from align_jax.data.records import MARKS

# For checkpoints without a template. Vicuna's format, without its system prompt, is what LLaVA-1.5 is asked in.
VICUNA = (
    "{% for m in messages %}{% if m['role'] == 'user' %}USER: {{ m['content'] }} {% else %}"
    "ASSISTANT: {{ m['content'] }}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
PLAIN = (  # a line for the question, and one for the answer
    "{% for m in messages %}{{ m['content'] }}{% if m['role'] == 'user' %}{{ '\n' }}{% else %}{{ eos_token }}"
    "{% endif %}{% endfor %}"
)
PROBE = "quetzalcoatl"  # a word that no template writes


def read_template(folder: Path, tokenizer: Any, media: bool) -> str | dict[str, str] | None:
    """The chat template of a checkpoint, or None.

    Args:
      folder: of its files.
      tokenizer: whose own template comes first for models that only read; for others it comes last, as in
        transformers, since some kept that of the language model that they grew from.
      media: whether the model takes more than text.
    """
    found = [_text(folder / "chat_template.jinja")]
    found += [_key(folder / name) for name in ("chat_template.json", "processor_config.json")]
    found.insert(len(found) if media else 0, tokenizer.chat_template)
    return next((template for template in found if template), None)


class Chat:
    """One question and its answer.

    Attributes:
      takes_items: whether the template reads a message as a list of texts and media; else it takes a string.
      opening: what the template writes between them, up to where the model goes on.
      before, after: what an answer has around it besides; `after` ends with `end`.
      end: the token that ends a turn: the first special one behind an answer, else the end of a sequence.
    """

    def __init__(self, tokenizer: Any, template: str | dict[str, str], marks: Mapping[str, str]):
        """
        Args:
          tokenizer: of transformers.
          template: in Jinja.
          marks: "image", "video", "audio" -> what the template writes for it.

        Raises:
          ValueError: the template loses a question or an answer, or nothing ends an answer.
        """
        self._tokenizer, self._template, self.marks = tokenizer, template, dict(marks)
        self.takes_items, self._written, self._ahead = True, frozenset(), False
        self.takes_items = self._list_works()
        probed = {kind: self._probe(kind) for kind in self.marks} if self.takes_items else {}
        self._written = frozenset(kind for kind, parts in probed.items() if any(parts))
        self._ahead = any(before for before, _ in probed.values())
        try:
            question = self.render(PROBE)
        except Exception as error:  # whatever a template raises
            raise ValueError(f"the chat template does not take a lone question: {error}") from error
        if PROBE not in question:
            raise ValueError("the chat template loses what a user says: give the folder another chat_template.jinja")
        self.opening = question.rpartition(PROBE)[2]
        self.before, self.after, self.end = self._around(question)

    def render(self, text: str, counts: Mapping[str, int] | None = None) -> str:
        """The prompt, with a mark of the model for every picture, video and recording.

        Args:
          text: with the marks of records, or without them to have the media first. New lines between marks at its
            beginning and the words are dropped: templates write their own. Some put all media before all words.
          counts: of "image", "video", "audio".
        """
        return self._written_out([{"role": "user", "content": self._content(text, counts or {})}], start=True)

    def _content(self, text: str, counts: Mapping[str, int]) -> str | list[dict[str, str]]:
        kinds = {mark: mark.strip("<>") for mark in MARKS}
        first = [mark for mark, kind in kinds.items() if mark not in text for _ in range(counts.get(kind, 0))]
        parts = [*first, *re.split("({})".format("|".join(map(re.escape, MARKS))), text)]
        begun, items = False, []
        for part in parts:
            if part in kinds:
                items.append(self._item(kinds[part], begun))
            elif part := part if begun or not items else part.lstrip("\n"):
                begun = True
                items.append({"type": "text", "text": part})
        if self._ahead or not items:  # one text, since what a template writes behind it may end the turn
            text = "".join(item.get("text", "") for item in items)
            items = [*(item for item in items if item["type"] != "text"), {"type": "text", "text": text}]
        return items if self.takes_items else "".join(item["text"] for item in items)

    def _item(self, kind: str, begun: bool) -> dict[str, str]:
        if kind in self._written:
            return _medium(kind)
        # Where a template has no rule for it, its mark is text; older models were asked with each on its own line.
        return {"type": "text", "text": self.marks[kind] + ("" if self.takes_items or begun else "\n")}

    def _written_out(self, messages: list[dict[str, Any]], start: bool) -> str:
        return self._tokenizer.apply_chat_template(
            messages, chat_template=self._template, tokenize=False, add_generation_prompt=start
        )

    def _list_works(self) -> bool:
        try:
            text = self.render(PROBE)
        except Exception:  # whatever a template does with a list that it takes for a string
            return False
        return PROBE in text and "'type'" not in text

    def _probe(self, kind: str) -> tuple[bool, bool]:
        """Whether the template writes the mark of what stands between two texts before both, or between them."""
        text = {"type": "text", "text": PROBE}
        written = self._written_out([{"role": "user", "content": [text, _medium(kind), text]}], start=True)
        before, between, *_ = written.split(PROBE) + [""]
        return self.marks[kind] in before, self.marks[kind] in between

    def _around(self, question: str) -> tuple[str, str, str]:
        answer = PROBE[::-1]
        content = [{"type": "text", "text": answer}] if self.takes_items else answer
        turns = [{"role": "user", "content": self._content(PROBE, {})}, {"role": "assistant", "content": content}]
        before, found, after = self._written_out(turns, start=False).partition(answer)
        if not found:
            raise ValueError("the chat template loses what an assistant says: give the folder another one")
        before = before.removeprefix(question) if before.startswith(question) else ""
        special = [token.content for token in self._tokenizer.added_tokens_decoder.values() if token.special]
        end = re.search("|".join(map(re.escape, sorted(special, key=len, reverse=True))), after) if special else None
        if end:
            return before, after[: end.end()], end.group()
        if not self._tokenizer.eos_token:
            raise ValueError(
                "nothing ends an answer: the chat template writes no special token, and there is no eos_token"
            )
        return before, self._tokenizer.eos_token, self._tokenizer.eos_token


def _medium(kind: str) -> dict[str, str]:
    return {"type": kind, kind: ""}  # some templates ask for the key and do not read the type


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def _key(path: Path) -> str | None:
    return json.loads(path.read_text(encoding="utf-8")).get("chat_template") if path.exists() else None
