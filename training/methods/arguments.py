"""Arguments that every TRL trainer is given.

Those of TRL 1.16 whose defaults are not wanted: `bf16` (on, also on a CPU, where it is four times slower), activation
checkpointing (on), and the filter that hides NaN losses.
"""

from __future__ import annotations

import importlib.util
from typing import Any

from curation.errors import WinnowError
from training.config import TrainConfig
from training.methods.method import Setup
from training.methods.opening import bf16
from training.methods.schedules import scheduler_type

CHECKPOINTING_FROM = 1_000_000_000
"""Parameters from which a GPU run gives a fifth of its speed for the memory of the activations."""


def common(setup: Setup) -> dict[str, Any]:
    """What `TrainingArguments` and all its descendants take; batch sizes are not among them."""
    import torch

    config, cuda = setup.config, torch.cuda.is_available()
    return {
        "output_dir": str(setup.run.checkpoints),
        "learning_rate": config.rate(setup.model.num_parameters())[0],
        "num_train_epochs": config.epochs,
        "max_steps": config.max_steps or -1,
        "warmup_steps": config.warmup_ratio,
        "lr_scheduler_type": scheduler_type(config),
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.max_grad_norm,
        "optim": _optimizer(config, cuda=cuda),
        "logging_steps": config.logging_steps,
        "logging_nan_inf_filter": False,
        "save_strategy": "steps",
        "save_steps": config.save_steps,
        # With one, the old checkpoint would be gone before the new one is marked as complete.
        "save_total_limit": max(2, config.checkpoints_kept),
        "eval_strategy": "no",
        "use_cpu": not cuda,
        "bf16": bf16(),
        "gradient_checkpointing": checkpoints_activations(config, setup.model.num_parameters(), cuda=cuda),
        "seed": config.seed,
        "data_seed": config.seed,
        "report_to": "none",
        "disable_tqdm": True,
    }


def batches(config: TrainConfig) -> dict[str, int]:
    """Rows per device and forward pass, and forward passes per step."""
    return {
        "per_device_train_batch_size": config.batch_size,
        "gradient_accumulation_steps": config.accumulation,
    }


def checkpoints_activations(config: TrainConfig, parameters: int, *, cuda: bool) -> bool:
    """Whether activations are computed again in the backward pass."""
    if config.adapter == "prefix":  # its trained keys and values stand in a cache, which checkpointing excludes
        return False
    if config.activation_checkpointing == "auto":
        return cuda and parameters >= CHECKPOINTING_FROM
    return config.activation_checkpointing == "on"


def _optimizer(config: TrainConfig, *, cuda: bool) -> str:
    if not config.optimizer.endswith("8bit"):
        return config.optimizer
    fix = "set optimizer=adamw_torch, or adafactor, which needs little memory on any machine"
    if not cuda:
        raise WinnowError(f"The optimizer {config.optimizer} needs a GPU, and this machine has none.", fix=fix)
    if importlib.util.find_spec("bitsandbytes") is None:
        raise WinnowError(
            f"The optimizer {config.optimizer} needs bitsandbytes, which is not installed.",
            fix=f"pip install bitsandbytes; or {fix}",
        )
    return config.optimizer
