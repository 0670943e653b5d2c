"""Scenes that `align_jax.data.scenes_builder` has written, as records: one for each conversation."""

import os
from collections.abc import Mapping, Sequence

import numpy as np

from align_jax import registry
from align_jax.data.easy_vqa import polarity
from align_jax.data.records import Record

OPPOSITE = {"yes": "no", "no": "yes"}


class Scenes:
    """Random access to the conversations of one split; see `scenes`. Pickles: each process opens the files itself."""

    def __init__(self, data_dir: str, split: str, kinds: Sequence[str] | Mapping[str, float] | None):
        self._data_dir, self._split, self._rows = data_dir, split, None
        found: dict[str, list[tuple[int, int]]] = {}
        for row in range(len(self._open())):
            for turn, kind in enumerate(self._open()[row]["conversations"]["kind"]):
                found.setdefault(kind.decode(), []).append((row, turn))
        if missing := sorted(set(kinds or ()) - set(found)):
            raise ValueError(f"split {split!r} has no {', '.join(missing)}; it has: {', '.join(sorted(found))}")
        if isinstance(kinds, Mapping):
            if min(kinds.values()) <= 0:
                raise ValueError(f"shares must be positive: {dict(kinds)}")
            scale = max(len(found[kind]) / share for kind, share in kinds.items())
            counts = {kind: round(scale * share) for kind, share in kinds.items()}
        else:
            counts = {kind: len(found[kind]) for kind in kinds or found}
        index = [np.resize(np.array(found[kind], np.int32), (count, 2)) for kind, count in counts.items()]
        self._index = np.concatenate(index)  # i32[n, 2]: scene, conversation

    def _open(self):
        if self._rows is None:
            import tensorflow_datasets as tfds

            builder = tfds.builder_from_directory(self._data_dir)
            keep_bytes = {"image": tfds.decode.SkipDecoding()}
            self._rows = builder.as_data_source(split=self._split, decoders=keep_bytes)
        return self._rows

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_rows": None}

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, i: int) -> Record:
        row, turn = (int(x) for x in self._index[i])
        scene = self._open()[row]
        prompt, answer, kind = (scene["conversations"][key][turn].decode() for key in ("prompt", "answer", "kind"))
        meta = {"objects": [name.decode() for name in scene["objects"]], "kind": kind}
        if kind == "official":
            meta["polarity"] = polarity(prompt)
        return Record(
            id=f"{scene['id'].decode()}/{turn}",
            prompt=prompt,
            images=(scene["image"],),
            chosen=answer,
            rejected=OPPOSITE[answer] if kind == "existence" else None,
            meta=meta,
        )


@registry.entry()
def scenes(*, data_dir: str, split: str, kinds: Sequence[str] | Mapping[str, float] | None = None) -> Scenes:
    """Opens one split of the scenes.

    Args:
      data_dir: what `scenes_builder.write` returned.
      split: "sft", "preference", "evaluation", "in_prior" or "official", or a TFDS slice such as "sft[:10%]".
      kinds: of conversation, "caption", "existence" or "official". A sequence keeps those as they are; a mapping also
        gives their proportions (any positive numbers), which are reached by repeating what is too rare; None keeps
        all.

    Returns:
      A random-access source of `Record`. `images` is one PNG, as bytes, still encoded. `chosen` is the true answer;
      `rejected` is the opposite answer for existence questions, else None. `meta` has "objects" (names, row-major),
      "kind", and for official questions "polarity" ("affirmative", "negated" or "open").

    Raises:
      ValueError: there is no such set at `data_dir`, or no such split or kind in it.
    """
    if not os.path.exists(os.path.join(data_dir, "dataset_info.json")):
        raise ValueError(
            f"{data_dir!r} holds no scenes; make them with align_jax.data.scenes_builder.write(root, seed=...) "
            "and pass the directory that it returns"
        )
    return Scenes(data_dir, split, kinds)
