"""The types that every part of the project speaks. Imports nothing of ours.

Shapes: B prompts, P prompt tokens, K completions of each prompt, R completion tokens; of a prompt's media: N tiles or
recordings, S patches, F placeholders.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

Params = Any  # a nested dict of arrays
Cache = Any  # keys and values of a prompt and its completions, as the model lays them out
T = TypeVar("T")


def pytree(cls: type[T]) -> type[T]:
    """Class decorator: a frozen dataclass whose fields are all pytree children."""
    return jax.tree_util.register_dataclass(dataclasses.dataclass(frozen=True)(cls))


@pytree
class Tiles:
    """Pictures, or frames of videos, cut into tiles of the one size that a vision tower takes.

    A tile gives T features; those of a row are counted through, tile after tile. Placeholder f of the row, in the
    order of the prompt, takes the sum of features `slots[f]` times `weights[f]`; without `slots`, the f-th feature.
    Feature -1, where a model has one, is its learned end of a line (LLaVA-NeXT).
    """

    pixels: jax.Array  # f32[B, N, H, W, C]
    slots: jax.Array | None = None  # i32[B, F, taps]
    weights: jax.Array | None = None  # f32[B, F, taps]; 0 on padding


@pytree
class Patches:
    """Pictures and frames of their own sizes, as sequences of patches: Qwen-VL.

    Every `merge * merge` consecutive patches become one feature; placeholder f takes feature `slots[f]`. A tower with
    windows reads each run of `window` patches as one, so that windows cut off by an edge are padded here.
    """

    pixels: jax.Array  # f32[B, S, values of a patch], as the published image processor flattens them
    segment: jax.Array  # i32[B, S] the frame that a patch is part of, from 1; 0 is padding
    place: jax.Array  # i32[B, S, 2] its row and column in the frame
    size: jax.Array  # i32[B, S, 2] rows and columns of the frame
    slots: jax.Array  # i32[B, F]


@pytree
class Sound:
    """Recordings as log-mel spectrograms. Placeholder f takes feature `slots[f]`, counted through those of the row."""

    mel: jax.Array  # f32[B, N, frames, mels]
    mask: jax.Array  # f32[B, N, frames] 1 on what was recorded
    slots: jax.Array  # i32[B, F]


Media = Tiles | Patches | Sound


@pytree
class PromptTree:
    """One prompt with its media and K completions of it: the unit of work.

    A completion attends to the prompt and to itself. Position r of `tokens` predicts position r of `targets`:
    the shift by one is made in data/pack.py and nowhere else. Padding may stand on either side of the prompt.
    """

    prompt: jax.Array  # i32[B, P] text and media placeholders, without the last token of the prompt
    prompt_mask: jax.Array  # f32[B, P]
    media: Media | None
    tokens: jax.Array  # i32[B, K, R] last token of the prompt, then the completion without its last token
    targets: jax.Array  # i32[B, K, R] the completion
    mask: jax.Array  # f32[B, K, R] 1 where a target counts
    # For models that rotate by time, row and column; else tokens are counted.
    positions: jax.Array | None = None  # i32[B, P, 3] of each prompt token
    start: jax.Array | None = None  # i32[B] of the last token of the prompt, which completions count on from


@pytree
class Scores:
    """Log-probabilities of completions under one model; 0 where masked. `[..., R]` is `[B, K, R]` or `[B, R]`.

    Statistics of the next-token distributions are there if a loss asks for them (`@loss(statistics=...)`).
    """

    logps: jax.Array  # f32[..., R]
    mask: jax.Array  # f32[..., R]
    entropy: jax.Array | None = None  # f32[..., R] in nats
    collision: jax.Array | None = None  # f32[..., R] log of the sum of squared probabilities
    logits: jax.Array | None = None  # f32[..., R] of the targets, not normalised
    rival: jax.Array | None = None  # f32[..., R] log-probability of the likeliest token that is not the target
    kl: jax.Array | None = None  # f32[..., R] KL(reference : policy) over the whole vocabulary; of the policy's scores
    top: jax.Array | None = None  # i32[..., R] the likeliest token

    @property
    def total(self) -> jax.Array:
        """f32[...]: log-probability of the whole completion."""
        return self.logps.sum(-1)

    @property
    def length(self) -> jax.Array:
        """f32[...]: number of tokens that count."""
        return self.mask.sum(-1)

    @property
    def mean(self) -> jax.Array:
        """f32[...]: log-probability per token; 0 for an empty completion."""
        return self.total / jnp.maximum(self.length, 1.0)

    def completion(self, k: int) -> "Scores":
        """Scores `[B, R]` of the k-th completion of every tree."""
        return jax.tree.map(lambda x: x[:, k], self)


@pytree
class Pair(Generic[T]):
    chosen: T
    rejected: T


@pytree
class Mean:
    """A mean that is not divided yet, so that it adds over microbatches, hosts and evaluation steps."""

    total: jax.Array  # f32[]
    count: jax.Array  # f32[]

    @classmethod
    def of(cls, values: jax.Array, weight: jax.Array) -> "Mean":
        """Weighted mean of `values`; both of the same shape. What weighs 0 may be anything but is never read."""
        values = jnp.where(weight > 0, values, 0.0)
        return cls(jnp.sum(values * weight), jnp.sum(weight))

    def __add__(self, other: "Mean") -> "Mean":
        return Mean(self.total + other.total, self.count + other.count)

    @property
    def value(self) -> jax.Array:
        """The mean; 0 where nothing was counted."""
        return self.total / jnp.where(self.count == 0, 1.0, self.count)


class Policy(NamedTuple):
    """A model as pure functions, in the manner of `optax.GradientTransformation`."""

    init: Callable[[jax.Array, PromptTree], Params]
    hidden: Callable[[Params, PromptTree], jax.Array]  # -> [B, K, R, D], one state for each target
    unembed: Callable[[Params, jax.Array], jax.Array]  # [..., D] -> f32[..., V]
    # (params, tree, K, R) -> cache of the prompt, with room for K completions of R tokens; ignores those of the tree
    prefill: Callable[[Params, PromptTree, int, int], Cache]
    # (params, cache, i32[B, K] token, step) -> ([B, K, D], cache)
    decode: Callable[[Params, Cache, jax.Array, jax.Array], tuple[jax.Array, Cache]]
    # Of a model that judges whole completions instead of writing them (a dual encoder): takes the place of all above
    score: Callable[[Params, PromptTree], Scores] | None = None


@pytree
class Prompt:
    """A prompt after its text was tokenised and its media were read; host memory, not yet padded."""

    ids: np.ndarray  # i32[p] the whole prompt, media placeholders expanded
    media: Media | None = None  # without the axis B; axes N, S and F may be of length 0
    positions: np.ndarray | None = None  # i32[p, 3], as in PromptTree


class Span(NamedTuple):
    """A labelled part of a text (characters) or of a completion (tokens): from `start`, up to but without `end`."""

    start: int
    end: int
    label: str | float = 1.0


@dataclasses.dataclass
class Example:
    """One record, encoded; host memory, not yet padded."""

    id: str
    prompt: Prompt
    completions: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)  # "chosen" -> i32[r], ends with EOS
    views: dict[str, Prompt] = dataclasses.field(default_factory=dict)  # the same text with other media
    ranked: list[np.ndarray] = dataclasses.field(default_factory=list)  # i32[r] each, the best first
    ranked_scores: list[float] = dataclasses.field(default_factory=list)  # one for each, if the record has them
    numbers: dict[str, float] = dataclasses.field(default_factory=dict)  # "margin" -> what the record says
    spans: dict[str, list[Span]] = dataclasses.field(default_factory=dict)  # "chosen" -> its labelled tokens


class Reads(NamedTuple):
    """What a batch class reads of a record besides the prompt: a record without it is broken."""

    completions: tuple[str, ...] = ()  # "chosen", "rejected", or one of the record's `answers`
    views: tuple[str, ...] = ()  # other media: of `config.data.views`, or of the record's own `views`
    numbers: tuple[str, ...] = ()  # fields that hold a number
    spans: tuple[str, ...] = ()  # completions whose parts are labelled
    ranked: int = 0  # answers of `ranked`, at most; a record may have fewer, but two
    check: Callable[[Example], str] | None = None  # what else is wrong with a record, or ""; a function of a module


class PackTree(Protocol):
    """Pads examples into one tree of static shape: completion k of the tree is `example.completions[names[k]]`.

    `view` names the entry of `Example.views` that takes the place of `Example.prompt`.
    Rows past the last example are padding, with a mask of zeros.
    """

    batch_size: int
    completion_length: int

    def __call__(
        self, examples: Sequence[Example], completions: Sequence[str], view: str | None = None
    ) -> PromptTree: ...


class Batch(Protocol):
    """What a loss reads, besides scores. A new view of the data is a new batch class beside its loss."""

    reads: ClassVar[Reads]
    weight: jax.Array  # f32[B]; 0 on padding rows

    @classmethod
    def pack(cls, examples: Sequence[Example], pack_tree: PackTree) -> "Batch": ...

    def trees(self) -> tuple[PromptTree, ...]:
        """What must be scored."""

    def group(self, scores: tuple[Scores, ...]) -> Any:
        """Scores of `trees()`, put back into the form that the loss reads."""


def row_weight(examples: Sequence[Example], batch_size: int) -> np.ndarray:
    """f32[batch_size]: 1 for rows that hold an example, 0 for padding rows."""
    return (np.arange(batch_size) < len(examples)).astype(np.float32)


def numbers(names: Sequence[str], examples: Sequence[Example], batch_size: int) -> dict[str, np.ndarray]:
    """f32[batch_size] for each name: what the examples say; 0 on padding rows."""
    values = {name: np.zeros(batch_size, np.float32) for name in names}
    for name, column in values.items():
        column[: len(examples)] = [example.numbers[name] for example in examples]
    return values


@pytree
class CompletionBatch:
    """One completion of each prompt (`completions["chosen"]`): supervised fine-tuning, and methods without pairs."""

    reads: ClassVar = Reads(completions=("chosen",))
    tree: PromptTree  # K = 1
    weight: jax.Array

    @classmethod
    def pack(cls, examples: Sequence[Example], pack_tree: PackTree) -> "CompletionBatch":
        return cls(pack_tree(examples, ("chosen",)), row_weight(examples, pack_tree.batch_size))

    def trees(self) -> tuple[PromptTree, ...]:
        return (self.tree,)

    def group(self, scores: tuple[Scores, ...]) -> Scores:
        return scores[0].completion(0)


@pytree
class PreferenceBatch:
    """A chosen and a rejected completion of each prompt."""

    reads: ClassVar = Reads(completions=("chosen", "rejected"))
    tree: PromptTree  # K = 2: chosen, rejected
    weight: jax.Array

    @classmethod
    def pack(cls, examples: Sequence[Example], pack_tree: PackTree) -> "PreferenceBatch":
        return cls(pack_tree(examples, ("chosen", "rejected")), row_weight(examples, pack_tree.batch_size))

    def trees(self) -> tuple[PromptTree, ...]:
        return (self.tree,)

    def group(self, scores: tuple[Scores, ...]) -> Pair[Scores]:
        return Pair(scores[0].completion(0), scores[0].completion(1))


@pytree
class MeasuredBatch(PreferenceBatch):
    """Pairs with the numbers that a subclass reads of each record, such as a margin or a weight."""

    numbers: dict[str, jax.Array]  # f32[B] each; 0 on padding rows

    @classmethod
    def pack(cls, examples: Sequence[Example], pack_tree: PackTree) -> "MeasuredBatch":
        pair = PreferenceBatch.pack(examples, pack_tree)
        return cls(pair.tree, pair.weight, numbers(cls.reads.numbers, examples, pack_tree.batch_size))


@pytree
class TwoSidedBatch(PreferenceBatch):
    """Pairs whose rejected completion was given other media (`Example.views["rejected"]`): two trees."""

    rejected: PromptTree  # K = 1, and `tree` holds the chosen completion alone

    @classmethod
    def pack(cls, examples: Sequence[Example], pack_tree: PackTree) -> "TwoSidedBatch":
        weight = row_weight(examples, pack_tree.batch_size)
        return cls(pack_tree(examples, ("chosen",)), weight, pack_tree(examples, ("rejected",), view="rejected"))

    def trees(self) -> tuple[PromptTree, ...]:
        return (self.tree, self.rejected)

    def group(self, scores: tuple[Scores, ...]) -> Pair[Scores]:
        return Pair(scores[0].completion(0), scores[1].completion(0))


Metrics = Mapping[str, Mean]
