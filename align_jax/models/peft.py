"""Adapters in the format of PEFT: a folder that `peft.PeftModel.from_pretrained` puts on the published model."""

import json
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
from safetensors.numpy import save_file

from align_jax.models.families.base import Family, renamed
from align_jax.models.lora import Adapter, LoraConfig
from align_jax.models.stored import whole


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
      ValueError: a matrix is adapted that is no linear layer there, so that PEFT has no place for the change.
    """
    tensors, modules = {}, []
    for module, a, b in _modules(family, adapter):
        modules.append(module)
        tensors[f"base_model.model.{module}.lora_A.weight"] = np.ascontiguousarray(a.T)
        tensors[f"base_model.model.{module}.lora_B.weight"] = np.ascontiguousarray(b.T)
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
    with whole(folder) as partial:
        save_file(tensors, partial / "adapter_model.safetensors", metadata={"format": "pt"})
        (partial / "adapter_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def _modules(family: Family, adapter: Adapter) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Name, a [inputs, rank] and b [rank, features] of every module that is adapted."""
    by_name = {tensor.ours: tensor for tensor in family.weights}
    for path, halves in adapter.items():
        tensor = by_name[path]
        if not tensor.inputs or tensor.conv or tensor.shape or not tensor.theirs.endswith(".weight"):
            raise ValueError(f"{path} is stored as {tensor.theirs}, which is no linear layer: PEFT cannot adapt it")
        a, b = (np.asarray(jax.device_get(halves[half])) for half in "ab")
        name = module_name(family, tensor.theirs.removesuffix(".weight"))
        if "{}" not in name:
            yield name, a, b
        else:
            yield from ((name.format(tensor.first + i), a[i], b[i]) for i in range(len(a)))


def module_name(family: Family, stored: str) -> str:
    """Where transformers keeps, in memory, the module that is stored under a name."""
    return renamed(stored, family.modules)
