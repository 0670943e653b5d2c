"""How much of a batch is padding: what buckets and lengths cost."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from align_jax.types import Mean, Media, Metrics, Patches, PromptTree, Sound


def shares(trees: Sequence[PromptTree]) -> Metrics:
    """Shares of prompt tokens, completion tokens and media (tiles, patches or frames of sound) that are padding."""
    empty = {
        "prompt": [tree.prompt_mask == 0 for tree in trees],
        "completion": [tree.mask == 0 for tree in trees],
        "media": [_empty(tree.media) for tree in trees if tree.media is not None],
    }
    return {f"padding/{what}": _share(masks) for what, masks in empty.items() if masks}


def _share(masks: Sequence[jax.Array]) -> Mean:
    return Mean(
        jnp.asarray(sum(jnp.sum(mask) for mask in masks), jnp.float32),
        jnp.asarray(sum(mask.size for mask in masks), jnp.float32),
    )


def _empty(media: Media) -> jax.Array:
    if isinstance(media, Patches):
        return media.segment == 0
    if isinstance(media, Sound):
        return media.mask == 0
    return jnp.all(media.pixels == 0, axis=(2, 3, 4))
