"""What a published Qwen-VL checkpoint says about its pictures and videos."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from align_jax.data.processors.tiles import check_files


class VideoSettings(NamedTuple):
    """How frames are resized and normalised."""

    least: int  # pixels
    most: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


def read_settings(folder: str, images: dict[str, int | None], videos: dict[str, int | None]) -> tuple[Any, dict]:
    """The published model's config (`transformers`), and the fields of `QwenVL` that every family reads alike.

    Args:
      folder: of a published checkpoint, or of what `save_pretrained` of its processor and config wrote.
      images, videos: "min_pixels" and "max_pixels"; None: as published.

    Raises:
      FileNotFoundError: one of the files is missing.
    """
    import transformers  # takes seconds

    check_files(folder)
    config = transformers.AutoConfig.from_pretrained(folder)
    changes = {name: value for name, value in images.items() if value is not None}
    processor = transformers.Qwen2VLImageProcessorPil.from_pretrained(folder, **changes)
    published = _video_file(Path(folder))
    size, square = published.get("size") or {}, (processor.patch_size * processor.merge_size) ** 2
    least = videos["min_pixels"] or published.get("min_pixels") or size.get("shortest_edge")
    most = videos["max_pixels"] or published.get("max_pixels") or size.get("longest_edge")
    video = VideoSettings(
        least=least or 128 * square,  # what transformers falls back to
        most=most or 768 * square,
        mean=tuple(published.get("image_mean") or processor.image_mean),
        std=tuple(published.get("image_std") or processor.image_std),
    )
    token_ids = (config.image_token_id, config.video_token_id)
    return config, dict(image_processor=processor, video=video, token_ids=token_ids)


def _video_file(folder: Path) -> dict[str, Any]:
    """Settings of videos; older checkpoints have one file for pictures and videos."""
    places = (
        ("processor_config.json", "video_processor"),
        ("video_preprocessor_config.json", None),
        ("preprocessor_config.json", None),
    )
    for name, key in places:
        if (folder / name).exists():
            settings = json.loads((folder / name).read_text(encoding="utf-8"))
            if settings := settings if key is None else settings.get(key):
                return settings
    return {}
