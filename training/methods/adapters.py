"""Which weights a run changes."""

from __future__ import annotations

from typing import Any

from training.config import TrainConfig
from training.methods.opening import bf16

HELD_IN_BF16 = ("lora",)
"""Adapters whose base does not change, and so needs no float32."""

READS: dict[str, frozenset[str]] = {
    "full": frozenset(),
    "lora": frozenset({"lora_rank", "lora_alpha", "lora_dropout", "lora_variant"}),
}
"""Adapter -> fields of the config that it reads and some other does not."""


def peft_config(config: TrainConfig) -> Any:
    """What TRL's trainers take as `peft_config`; null where the model's own weights are trained."""
    if config.adapter != "lora":
        return None
    from peft import LoraConfig

    return LoraConfig(
        task_type="CAUSAL_LM",
        target_modules="all-linear",
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
    )


def weights_dtype(config: TrainConfig) -> str:
    """How the weights are held: those that an optimizer changes in float32, those under an adapter on a GPU in bf16."""
    return "bfloat16" if config.adapter in HELD_IN_BF16 and bf16() else "float32"
