"""Arguments that every TRL trainer is given.

Those of TRL 1.16 whose defaults are not wanted: `bf16` (on, also on a CPU, where it is four times slower), activation
checkpointing (on), and the filter that hides NaN losses.
"""

from __future__ import annotations

from typing import Any

from training.advice.memory import checkpoints_activations
from training.config import TrainConfig
from training.methods.adapters import check
from training.methods.method import Setup
from training.methods.opening import bf16
from training.methods.schedules import scheduler_type


def common(setup: Setup) -> dict[str, Any]:
    """What `TrainingArguments` and all its descendants take; batch sizes are not among them.

    Raises:
        WinnowError: the config can't train on this machine.
    """
    import torch

    config, cuda = setup.config, torch.cuda.is_available()
    check(config)  # once more: what was checked before may have been another machine
    return {
        "output_dir": str(setup.run.checkpoints),
        "learning_rate": config.rate(setup.model.num_parameters())[0],
        "num_train_epochs": config.epochs,
        "max_steps": config.max_steps or -1,
        "warmup_steps": config.warmup_ratio,
        "lr_scheduler_type": scheduler_type(config),
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.max_grad_norm,
        "optim": config.optimizer,
        "logging_steps": config.logging_steps,
        "logging_nan_inf_filter": False,
        "save_strategy": "steps",
        "save_steps": config.save_steps,
        # With one, the old checkpoint would be gone before the new one is marked as complete.
        # And the best one so far would be gone before a better one is.
        "save_total_limit": max(2, config.checkpoints_kept) + (config.patience is not None),
        "eval_strategy": "no",
        "use_cpu": not cuda,
        "bf16": bf16(),
        "gradient_checkpointing": checkpoints_activations(config, setup.model.num_parameters(), on_gpu=cuda),
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
