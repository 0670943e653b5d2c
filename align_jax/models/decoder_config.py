"""Sizes of a decoder."""

import dataclasses

from align_jax.models.rope import Rope


@dataclasses.dataclass(frozen=True)
class DecoderConfig:
    vocab_size: int
    dim: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    mlp_dim: int
    rope: Rope = Rope()
    norm_eps: float = 1e-5
    tie_embeddings: bool = False
    qkv_bias: bool = False  # Qwen2
    out_bias: bool = False
    qk_norm: bool = False  # RMSNorm of each head's queries and keys: Qwen3, Gemma 3
    activation: str = "silu"  # or gelu_tanh, gelu
    norm_offset: float = 0.0  # 1 in Gemma
    post_norms: bool = False  # norms behind attention and MLP, too: Gemma
    embed_scale: float = 1.0  # of token embeddings: sqrt(dim) in Gemma
    query_scale: float | None = None  # head_dim**-0.5 if not given
    window: int = 0  # tokens back that local layers see
    local: tuple[bool, ...] = ()  # which layers are local; none if empty
    local_rope: Rope | None = None  # of local layers, if it differs
    attention_softcap: float | None = None
    final_softcap: float | None = None
    remat: bool = False  # recompute each layer in the backward pass: less memory, a third more work
    unroll: int = 1  # layers per step of the scan; a few small layers run faster unrolled
    dtype: str = "float32"  # of activations
