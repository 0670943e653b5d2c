"""Counts of floating-point operations, from sizes alone: what `cost_analysis` of a scanned model does not give."""

from align_jax.models.mllm import MLLMConfig


def tree_flops(
    config: MLLMConfig, *, pictures: int, prompt: int, completions: int, length: int, vision_backward: bool = False
) -> dict[str, float]:
    """Matrix-product FLOPs of one prompt tree, forward and backward; a multiply-add counts 2.

    A linear layer of `n` weights takes 2n per token forward and 4n backward. Attention takes 4 * heads * head_dim for
    each pair of a query and a key that it sees, twice that backward: pairs are P (P + 1) / 2 in the prompt, and
    K (R P + R (R + 1) / 2) for completions. Norms, activations and softmax are left out.

    Args:
      config: sizes of the model.
      pictures: encoded for the tree.
      prompt: P, tokens of the prompt.
      completions: K.
      length: R, tokens of a completion.
      vision_backward: whether the vision tower is trained.

    Returns:
      "forward" and "train" (forward and backward).
    """
    d = config.decoder
    attention_weights = d.dim * d.head_dim * (2 * d.heads + 2 * d.kv_heads)
    layer = attention_weights + 3 * d.dim * d.mlp_dim
    tokens = prompt + completions * length
    seen = prompt * (prompt + 1) / 2 + completions * (length * prompt + length * (length + 1) / 2)
    decoder = d.layers * (2 * layer * tokens + 4 * d.heads * d.head_dim * seen)
    decoder += 2 * d.dim * d.vocab_size * completions * length
    tower = 0.0
    if config.vision:
        v, p = config.vision, config.projector
        tokens = v.patches + v.class_token
        per_picture = 2 * 3 * v.patch_size**2 * v.dim * v.patches
        per_picture += v.layers * (2 * tokens * (4 * v.dim**2 + 2 * v.dim * v.mlp_dim) + 4 * v.dim * tokens**2)
        tower = pictures * per_picture
        decoder += pictures * config.tokens_per_picture * 2 * (v.dim * p.hidden_dim + p.hidden_dim * p.dim)
    return {"forward": tower + decoder, "train": 3 * decoder + (3 if vision_backward else 1) * tower}
