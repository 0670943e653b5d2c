"""From a picture and its candidate texts to what a dual encoder (CLIP) takes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from align_jax.data.processors.tiles import open_settings, pil, vision_size
from align_jax.data.records import IMAGE_MARK, RecordError
from align_jax.types import Prompt, Tiles

DUAL = ("clip",)  # model types that judge texts instead of writing them


def open_inputs(folder: str | Path, length: int | None = None, **options: Any) -> "ContrastiveInputs":
    """Inputs of the checkpoint in `folder`; see `ContrastiveInputs`.

    Raises:
      FileNotFoundError: a file is missing.
      ValueError: an option, of which there are none.
    """
    if options:
        raise ValueError(f"the processor of a dual encoder does not take {', '.join(options)}")
    return ContrastiveInputs(folder, length)


class ContrastiveInputs:
    """Pictures and texts as a published dual encoder takes them, with its own tokenizer and image processor.

    A prompt is one picture and the token that starts every text; a completion is the text, up to the token that ends
    it. Texts that are too long lose words, not their end, which is where the model reads them.

    Attributes:
      empty: media of a prompt without any.
      pad_id: stands behind texts, and is never read.
      eos_id: of the token that ends a text.
    """

    turned = False
    sample_rate = 0

    def __init__(self, folder: str | Path, length: int | None = None):
        """
        Args:
          folder: of a published checkpoint; the weights may be elsewhere.
          length: tokens of a completion, at most, the last included; what the model has room for if not given.

        Raises:
          FileNotFoundError: a file is missing.
        """
        from transformers import AutoTokenizer  # takes seconds

        self.folder, self.length = str(folder), length
        config, self.image_processor = open_settings(self.folder)
        self.tokenizer = AutoTokenizer.from_pretrained(self.folder)
        room = config.text_config.max_position_embeddings
        self._size = vision_size(config)[0]
        self._limits = dict(truncation=True, max_length=room if length is None else min(length + 1, room))
        self.start_id, self.eos_id = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        self.pad_id = self.eos_id if self.tokenizer.pad_token_id is None else self.tokenizer.pad_token_id
        self.empty = Tiles(np.zeros((0, self._size, self._size, config.vision_config.num_channels), np.float32))

    def __reduce__(self) -> tuple:
        return ContrastiveInputs, (self.folder, self.length)

    def prompt(
        self,
        text: str,
        images: Sequence[np.ndarray] = (),
        videos: Sequence[Sequence[np.ndarray]] = (),
        sounds: Sequence[np.ndarray] = (),
    ) -> Prompt:
        """One picture, and the token that starts every text.

        Args:
          text: `<image>`, and nothing else: the model has no place for a question.
          images: one, uint8[H, W, 3].
          videos: none.
          sounds: none.

        Raises:
          RecordError: words, or other media.
          ValueError: the image processor and the tower disagree about the size of a picture.
        """
        if text.strip() != IMAGE_MARK:
            raise RecordError(
                "prompt",
                f"'prompt' must be {IMAGE_MARK} alone for a model that compares a picture with texts: put the words "
                "into the answers ('a photo of a dog')",
            )
        if len(images) != 1 or videos or sounds:
            raise RecordError("prompt", f"has {len(images)} images: this model takes one, and no videos or recordings")
        (pixels,) = self.image_processor(pil(images), return_tensors="np")["pixel_values"]
        pixels = np.ascontiguousarray(np.asarray(pixels, np.float32).transpose(1, 2, 0))
        if pixels.shape != self.empty.pixels.shape[1:]:
            raise ValueError(
                f"the image processor gives {pixels.shape}, and the tower takes {self.empty.pixels.shape[1:]}: "
                "preprocessor_config.json and config.json are not of one checkpoint"
            )
        return Prompt(np.array([self.start_id], np.int32), Tiles(pixels[None]))

    def completion(self, text: str) -> np.ndarray:
        """i32[r]: the text without the token that starts it, ending with the one that ends it.

        Raises:
          RecordError: it contains the token that ends texts.
          ValueError: the tokenizer is not that of a dual encoder.
        """
        start, *ids = self.tokenizer(text, **self._limits)["input_ids"]
        if start != self.start_id or ids[-1] != self.eos_id:
            raise ValueError(f"the tokenizer in {self.folder} does not put a start and an end around texts, as CLIP's")
        if self.eos_id in ids[:-1]:
            raise RecordError("completion", f"contains {self.tokenizer.eos_token}, which ends texts: take it out")
        return np.array(ids, np.int32)

    def places(self, text: str) -> np.ndarray:
        """i32[r, 2]: characters of each token of `completion(text)`, from and up to; none of the last."""
        found = self.tokenizer(text, return_offsets_mapping=True, **self._limits)["offset_mapping"]
        return np.array(found[1:], np.int32)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of a completion, without special tokens."""
        return self.tokenizer.decode(ids, skip_special_tokens=True).strip()
