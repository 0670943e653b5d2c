"""Adapters in the format of PEFT: a folder that `peft.PeftModel.from_pretrained` puts on the published model."""

import json
from pathlib import Path

import jax
import numpy as np
from safetensors.numpy import save_file

from align_jax.models.families.base import Family
from align_jax.models.lora import Adapter, LoraConfig
from align_jax.models.stored import CheckpointError


def save_adapter(folder: str | Path, family: Family, adapter: Adapter, config: LoraConfig, *, base: str) -> None:
    """Writes adapter_config.json and adapter_model.safetensors; whole or not at all.

    Args:
      folder: to be made; must not exist.
      family: of the model that is adapted.
      adapter: see models/lora.py.
      config: likewise.
      base: name or path of the published model, as PEFT stores it.

    Raises:
      CheckpointError: the folder exists.
    """
    folder, partial = Path(folder), Path(f"{folder}.partial")
    if folder.exists():
        raise CheckpointError(f"{folder} exists: choose another, or remove it")
    partial.mkdir(parents=True, exist_ok=True)
    by_name, tensors, modules = {tensor.ours: tensor for tensor in family.weights}, {}, []
    for path, halves in adapter.items():
        tensor = by_name[path]
        a, b = (np.asarray(jax.device_get(halves[half])) for half in "ab")
        layers = [(tensor.theirs.format(tensor.first + i), a[i], b[i]) for i in range(len(a))] if a.ndim == 3 else []
        for name, a_i, b_i in layers or [(tensor.theirs, a, b)]:
            module = module_name(family, name.removesuffix(".weight"))
            modules.append(module)
            tensors[f"base_model.model.{module}.lora_A.weight"] = np.ascontiguousarray(a_i.T)
            tensors[f"base_model.model.{module}.lora_B.weight"] = np.ascontiguousarray(b_i.T)
    save_file(tensors, partial / "adapter_model.safetensors", metadata={"format": "pt"})
    settings = {
        "peft_type": "LORA",
        "base_model_name_or_path": base,
        "r": config.rank,
        "lora_alpha": config.alpha,
        "use_rslora": config.rslora,
        "target_modules": modules,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
    }
    (partial / "adapter_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    partial.rename(folder)


def module_name(family: Family, stored: str) -> str:
    """Where transformers keeps, in memory, the module that is stored under a name."""
    for start, module in family.modules:
        if stored.startswith(start):
            return module + stored.removeprefix(start)
    return stored
