"""Idefics3: a picture cut into tiles that name their row and column, then all of it. arXiv:2408.12637."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from align_jax import registry
from align_jax.data.processors.base import Shown
from align_jax.data.processors.tiles import IMAGE, TileProcessor, open_settings, pil, vision_size

AROUND, WHOLE = "<fake_token_around_image>", "<global-img>"


@dataclasses.dataclass(frozen=True)
class Idefics3(TileProcessor):
    def images(self, images: Sequence[np.ndarray]) -> list[Shown]:
        """Tiles row by row, and the whole picture behind them; small pictures are one tile."""
        return [self._image(image) for image in images]

    def _image(self, image: np.ndarray) -> Shown:
        made = self.image_processor(pil([image]), return_row_col_info=True, return_tensors="np")
        ((rows,),), ((columns,),) = np.asarray(made["rows"]).tolist(), np.asarray(made["cols"]).tolist()
        return self.shown(self._text(rows, columns), made["pixel_values"][0])

    def _text(self, rows: int = 0, columns: int = 0) -> str:
        whole = AROUND + WHOLE + IMAGE * self.features + AROUND
        if not rows:
            return whole
        tile = IMAGE * self.features
        lines = ["".join(f"{AROUND}<row_{y + 1}_col_{x + 1}>{tile}" for x in range(columns)) for y in range(rows)]
        return "".join(f"{line}\n" for line in lines) + "\n" + whole


def idefics3_settings(folder: str, longest_edge: int | None, split: bool | None) -> dict:
    """Fields of a processor."""
    size = None if longest_edge is None else {"longest_edge": longest_edge}
    config, processor = open_settings(folder, size=size, do_image_splitting=split)
    side, patches = vision_size(config)
    return dict(image_processor=processor, size=side, features=patches**2 // config.scale_factor**2)


@registry.entry()
def idefics3(*, folder: str, longest_edge: int | None = None, split: bool | None = None) -> Idefics3:
    """Processor of the checkpoint in `folder`.

    Args:
      folder: has config.json and preprocessor_config.json.
      longest_edge: pixels of a picture's longer side before it is cut, a multiple of a tile's; as published if not
        given.
      split: whether to cut pictures at all; as published if not given.
    """
    return Idefics3(**idefics3_settings(folder, longest_edge, split))
