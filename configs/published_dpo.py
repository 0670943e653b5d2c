"""DPO of a published model: LLaVA, Qwen-VL, InternVL, Gemma 3, ... whatever has a file in align_jax/models/families.

    python experiments/train.py --config=configs/published_dpo.py --workdir=runs/llava_dpo \\
        --config.init_from=llava-1.5-7b-hf --config.data.source.path=pairs.jsonl

`init_from` is a Hugging Face folder on disk: config.json, *.safetensors, tokenizer and processor files. Published
recipes have learning rates of 5e-7 (full) to 5e-6; the vision tower stays frozen in most. In bfloat16 with float32
parameters and AdamW, 7 B parameters take 16 bytes each, 112 GB in all, over the devices of `mesh.fsdp`.
"""

from configs import common


def get_config():
    config = common.published()
    config.loss = (dict(name="dpo", beta=0.1),)
    return config
