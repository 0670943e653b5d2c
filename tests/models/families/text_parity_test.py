"""Text models: the decoders that the multimodal families share."""

import pytest

from tests.models.families.parity import LLAMA, Parity, transformers

pytestmark = pytest.mark.parity


class TestLlama(Parity):
    gradients = True

    @classmethod
    def model(cls):
        return transformers.LlamaForCausalLM(transformers.LlamaConfig(**LLAMA))


class TestLlama3(Parity):
    scale = 0.2

    @classmethod
    def model(cls):
        rope = dict(rope_type="llama3", rope_theta=500.0, factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0)
        rope["original_max_position_embeddings"] = 16
        return transformers.LlamaForCausalLM(
            transformers.LlamaConfig(**LLAMA, rope_parameters=rope, tie_word_embeddings=True)
        )


class TestMistral(Parity):
    @classmethod
    def model(cls):
        return transformers.MistralForCausalLM(transformers.MistralConfig(**LLAMA, sliding_window=6, head_dim=32))


class TestQwen2(Parity):
    @classmethod
    def model(cls):
        return transformers.Qwen2ForCausalLM(
            transformers.Qwen2Config(**LLAMA, use_sliding_window=True, sliding_window=6, max_window_layers=1)
        )


class TestQwen2Yarn(Parity):
    @classmethod
    def model(cls):
        rope = dict(rope_type="yarn", rope_theta=1000.0, factor=4.0, original_max_position_embeddings=16)
        return transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**LLAMA, rope_parameters=rope))


class TestQwen3(Parity):
    @classmethod
    def model(cls):
        return transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**LLAMA, head_dim=32))


class TestGemma3(Parity):
    embeddings = 0.02
    logits_std = (0.1, 3.0)

    @classmethod
    def model(cls):
        return transformers.Gemma3ForCausalLM(
            transformers.Gemma3TextConfig(
                **LLAMA,
                head_dim=16,
                sliding_window=6,
                layer_types=["sliding_attention", "full_attention"],
                query_pre_attn_scalar=8,
                final_logit_softcapping=3.0,
            )
        )
