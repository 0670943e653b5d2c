"""What published vision towers call their parts."""

from collections.abc import Mapping
from typing import NamedTuple


class Names(NamedTuple):
    """What a published tower calls its parts."""

    patch: str
    position: str
    class_token: str
    pre_norm: str
    post_norm: str
    layer: str  # {} is its number
    parts: Mapping[str, str]  # of a layer
    batched: bool = False  # position and class token have a leading axis of length 1


CLIP = Names(  # and SigLIP, Idefics3, SmolVLM
    patch="embeddings.patch_embedding",
    position="embeddings.position_embedding.weight",
    class_token="embeddings.class_embedding",
    pre_norm="pre_layrnorm",
    post_norm="post_layernorm",
    layer="encoder.layers.{}",
    parts={
        "attention_norm": "layer_norm1",
        "query": "self_attn.q_proj",
        "key": "self_attn.k_proj",
        "value": "self_attn.v_proj",
        "out": "self_attn.out_proj",
        "mlp_norm": "layer_norm2",
        "up": "mlp.fc1",
        "down": "mlp.fc2",
    },
)
INTERNVIT = Names(
    patch="embeddings.patch_embeddings.projection",
    position="embeddings.position_embeddings",
    class_token="embeddings.cls_token",
    pre_norm="",
    post_norm="layernorm",
    layer="encoder.layer.{}",
    parts={
        "attention_norm": "layernorm_before",
        "query": "attention.q_proj",
        "key": "attention.k_proj",
        "value": "attention.v_proj",
        "query_norm": "attention.q_norm",
        "key_norm": "attention.k_norm",
        "out": "attention.projection_layer",
        "attention_scale": "lambda_1",
        "mlp_norm": "layernorm_after",
        "up": "mlp.fc1",
        "down": "mlp.fc2",
        "mlp_scale": "lambda_2",
    },
    batched=True,
)
