"""The decoders of the families: from `text_config` to sizes and names."""

import math
from collections.abc import Mapping
from typing import Any

from align_jax.models.decoder import DecoderConfig
from align_jax.models.families.base import activation, refuse
from align_jax.models.rope import Rope
from align_jax.models.weights import Tensor, linear, norm

ACTIVATIONS = {"silu": "silu", "gelu_pytorch_tanh": "gelu_tanh", "gelu": "gelu"}


def rope(parameters: Mapping[str, Any], context: int) -> Rope:
    """From `rope_parameters`, or the older `rope_scaling` with the base merged in."""
    kind = parameters.get("rope_type") or parameters.get("type") or "default"
    kind = "default" if kind == "mrope" else kind  # older Qwen2-VL files
    if kind not in ("default", "dynamic", "linear", "llama3", "yarn"):
        refuse(f"rope_type {kind!r}")
    numbers = {
        name: parameters[name]
        for name in ("factor", "low_freq_factor", "high_freq_factor", "beta_fast", "beta_slow", "attention_factor")
        if parameters.get(name) is not None
    }
    return Rope(
        theta=float(parameters["rope_theta"]),
        kind=kind,
        original_context=parameters.get("original_max_position_embeddings") or context,
        sections=tuple(parameters.get("mrope_section") or ()),
        interleaved=bool(parameters.get("mrope_interleaved")),
        **numbers,
    )


def tied(hf: Mapping[str, Any]) -> bool:
    """Whether the head is the embeddings; published files say so in one place or the other."""
    return bool(hf.get("tie_word_embeddings") or hf["text_config"].get("tie_word_embeddings"))


def decoder(text: Mapping[str, Any], **changes: Any) -> DecoderConfig:
    """Sizes of a decoder of the Llama line; `changes` are fields that a family sets otherwise.

    Raises:
      ValueError: a setting that we cannot run.
    """
    heads, dim = text["num_attention_heads"], text["hidden_size"]
    if text.get("mlp_bias"):
        refuse("mlp_bias")
    layers = text["num_hidden_layers"]
    kinds = text.get("layer_types") or ["full_attention"] * layers
    local = tuple(kind == "sliding_attention" for kind in kinds)
    window = text.get("sliding_window") or 0
    if text["model_type"] == "mistral" and window and not text.get("layer_types"):
        local = (True,) * layers
    settings = dict(
        vocab_size=text["vocab_size"],
        dim=dim,
        layers=layers,
        heads=heads,
        kv_heads=text.get("num_key_value_heads") or heads,
        head_dim=text.get("head_dim") or dim // heads,
        mlp_dim=text["intermediate_size"],
        norm_eps=text["rms_norm_eps"],
        tie_embeddings=bool(text.get("tie_word_embeddings")),
        qkv_bias=bool(text.get("attention_bias")),
        out_bias=bool(text.get("attention_bias")),
        activation=activation(text, "hidden_act" if "hidden_act" in text else "hidden_activation", ACTIVATIONS),
        window=window if any(local) else 0,
        local=local if any(local) else (),
    )
    if "rope" not in changes:
        settings["rope"] = rope(text["rope_parameters"], text["max_position_embeddings"])
    return DecoderConfig(**(settings | changes))


def qwen2(text: Mapping[str, Any], **changes: Any) -> DecoderConfig:
    """Qwen2 and Qwen2.5: biases on queries, keys and values."""
    return decoder(text, qkv_bias=True, out_bias=False, **changes)


def qwen3(text: Mapping[str, Any], **changes: Any) -> DecoderConfig:
    """Qwen3: no biases, norms on queries and keys."""
    return decoder(text, qk_norm=True, **changes)


def gemma3(text: Mapping[str, Any], **changes: Any) -> DecoderConfig:
    """Gemma 3: local and global layers with rotations of their own, four norms a layer, scales stored around 0."""
    context, parameters = text["max_position_embeddings"], text["rope_parameters"]
    return decoder(
        text,
        rope=rope(parameters["full_attention"], context),
        local_rope=rope(parameters["sliding_attention"], context),
        qk_norm=True,
        post_norms=True,
        norm_offset=1.0,
        embed_scale=math.sqrt(text["hidden_size"]),
        query_scale=text["query_pre_attn_scalar"] ** -0.5,
        attention_softcap=text.get("attn_logit_softcapping"),
        final_softcap=text.get("final_logit_softcapping"),
        **changes,
    )


def weights(config: DecoderConfig, prefix: str, head: str) -> list[Tensor]:
    """Names of a decoder's tensors, which start with `prefix`; `head` is that of the output layer."""
    ours, theirs = "decoder/layers", prefix + "layers.{}."
    found = [Tensor("decoder/embed/embedding", f"{prefix}embed_tokens.weight"), *norm("decoder/norm", f"{prefix}norm")]
    names = {"attention_norm": "input_layernorm", "mlp_norm": "post_attention_layernorm"}
    if config.post_norms:
        names |= {
            "attention_post_norm": "post_attention_layernorm",
            "mlp_norm": "pre_feedforward_layernorm",
            "mlp_post_norm": "post_feedforward_layernorm",
        }
    if config.qk_norm:
        names |= {"attention/query_norm": "self_attn.q_norm", "attention/key_norm": "self_attn.k_norm"}
    for name, their_name in names.items():
        found += norm(f"{ours}/{name}", theirs + their_name)
    for name, their_name in {"query": "q_proj", "key": "k_proj", "value": "v_proj"}.items():
        found += linear(f"{ours}/attention/{name}", f"{theirs}self_attn.{their_name}", bias=config.qkv_bias)
    found += linear(f"{ours}/attention/out", f"{theirs}self_attn.o_proj", inputs=2, bias=config.out_bias)
    for name in ("gate", "up", "down"):
        found += linear(f"{ours}/mlp/{name}", f"{theirs}mlp.{name}_proj")
    return found if config.tie_embeddings else found + linear("decoder/head", head)
