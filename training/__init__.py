"""Training: a mix and a base model become an adapter, a report, and the answer to whether it was worth it.

Importing this package loads nothing heavy; a run is a process of its own (`training.worker`) and a folder.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from training.config import TrainConfig
    from training.evaluation import evaluate
    from training.training import train

__all__ = ["TrainConfig", "evaluate", "train"]

_HOMES = {"TrainConfig": "training.config", "evaluate": "training.evaluation", "train": "training.training"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'training' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
