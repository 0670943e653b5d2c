"""Text to token ids and back, for models trained here. Published models bring their own tokenizer and chat rules."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from align_jax.data.records import IMAGE_MARK, check_marks

PAD, BOS, EOS, IMAGE, ASSISTANT = SPECIAL = ("<pad>", "<bos>", "<eos>", IMAGE_MARK, "<assistant>")
MIN_VOCAB = 256 + len(SPECIAL)


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Byte-level BPE: every text can be encoded, so there is no unknown token. Equal texts give equal tokenizers.

    Args:
      texts: what to learn words from; `<image>` marks in them are ignored.
      vocab_size: upper bound; a small corpus has fewer merges to offer.

    Raises:
      ValueError: `vocab_size` cannot hold the 256 bytes and the special tokens.
    """
    if vocab_size < MIN_VOCAB:
        raise ValueError(f"vocab_size is {vocab_size}: a byte-level vocabulary needs at least {MIN_VOCAB}")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator((text.replace(IMAGE_MARK, " ") for text in texts), trainer)
    return tokenizer


class ChatTemplate:
    """One turn: `<bos>` prompt `<assistant>` completion `<eos>`.

    Text never becomes a special token, whatever it says, with one exception: an `<image>` mark of the prompt is
    replaced, once, by `tokens_per_image` placeholders.
    """

    def __init__(self, tokenizer: Tokenizer, tokens_per_image: int):
        """
        Args:
          tokenizer: has the special tokens of `train_tokenizer`; is copied.
          tokens_per_image: placeholders of one image, all of its tiles together.

        Raises:
          ValueError: a special token is not in the vocabulary.
        """
        if missing := [token for token in SPECIAL if tokenizer.token_to_id(token) is None]:
            raise ValueError(f"the tokenizer has no {', '.join(missing)}: make it with train_tokenizer")
        self._tokenizer = Tokenizer.from_str(tokenizer.to_str())
        self._tokenizer.encode_special_tokens = True  # "<eos>" written by a user is five letters, not the end
        self.tokens_per_image = tokens_per_image
        self.pad_id, self.bos_id, self.eos_id, self.image_id, self.assistant_id = map(tokenizer.token_to_id, SPECIAL)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self._tokenizer.to_str(), self.tokens_per_image)  # pickling drops encode_special_tokens

    @property
    def vocab_size(self) -> int:
        return self._tokenizer.get_vocab_size()

    def encode_prompt(self, text: str, num_images: int) -> np.ndarray:
        """i32[p]: the prompt, up to and including `<assistant>`. Images come first if `text` has no `<image>` mark.

        Raises:
          RecordError: the number of marks is neither 0 nor `num_images`.
        """
        check_marks(text, num_images, where="prompt")
        if IMAGE_MARK not in text:
            text = IMAGE_MARK * num_images + text
        first, *rest = text.split(IMAGE_MARK)
        ids = [self.bos_id, *self._encode(first)]
        for part in rest:
            ids += [self.image_id] * self.tokens_per_image + self._encode(part)
        return np.array([*ids, self.assistant_id], np.int32)

    def encode_completion(self, text: str) -> np.ndarray:
        """i32[r]: the answer, ending with `<eos>`."""
        return np.array([*self._encode(text), self.eos_id], np.int32)

    def places(self, text: str) -> np.ndarray:
        """i32[r, 2]: characters of each token, from and up to, of `encode_completion(text)`."""
        offsets = self._tokenizer.encode(text, add_special_tokens=False).offsets if text else []
        return np.array([*offsets, (len(text), len(text))], np.int32)

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """Text of a completion: up to the first `<eos>`, without special tokens and outer white space."""
        ids = np.asarray(ids).tolist()
        if self.eos_id in ids:
            ids = ids[: ids.index(self.eos_id)]
        return self._tokenizer.decode(ids, skip_special_tokens=True).strip()

    def save(self, folder: str | Path) -> None:
        """Writes `tokenizer.json` and `template.json`."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._tokenizer.save(str(folder / "tokenizer.json"))
        (folder / "template.json").write_text(json.dumps({"tokens_per_image": self.tokens_per_image}) + "\n")

    @classmethod
    def load(cls, folder: str | Path) -> "ChatTemplate":
        """Reads what `save` wrote.

        Raises:
          FileNotFoundError: one of the files is missing.
        """
        folder = Path(folder)
        return cls(
            Tokenizer.from_str((folder / "tokenizer.json").read_text(encoding="utf-8")),
            **json.loads((folder / "template.json").read_text(encoding="utf-8")),
        )

    def _encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False).ids if text else []


def _restore(tokenizer: str, tokens_per_image: int) -> ChatTemplate:
    return ChatTemplate(Tokenizer.from_str(tokenizer), tokens_per_image)
