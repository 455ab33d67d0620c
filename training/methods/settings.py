"""Which settings a run reads: one that nothing reads changes nothing, and the user is told."""

from __future__ import annotations

from curation.errors import WinnowError
from training.config import TrainConfig
from training.methods import METHODS, method_named
from training.methods.adapters import READS

ONLY_IF: dict[str, tuple[str, tuple[object, ...]]] = {
    "decay_ratio": ("scheduler", ("wsd",)),
    "replay": ("order", ("staged",)),
    "label_smoothing": ("preference_loss", ("robust",)),
}
"""Field -> the field that decides whether it is read, and with which values."""
ALWAYS_READ = ("max_answer_tokens",)
"""Also by other methods than those that name it: sample answers are as long at most as those that grpo trains on."""


def fields_read(method: str, adapter: str) -> list[str]:
    """The fields of the config that this method and this adapter read, in their order."""
    of_methods = frozenset[str]().union(*(other.reads for other in METHODS)) - method_named(method).reads
    of_adapters = frozenset[str]().union(*READS.values()) - READS[adapter]
    unread = of_methods | of_adapters
    return [name for name in TrainConfig.model_fields if name not in unread or name in ALWAYS_READ]


def unread(config: TrainConfig) -> list[str]:
    """A sentence for each setting that was given and that nothing reads."""
    given = [name for name, field in TrainConfig.model_fields.items() if getattr(config, name) != field.default]
    read = fields_read(config.method, config.adapter)
    told = [
        f"{name} is not used: {_who(name, config)} does not read it."
        for name in given
        if name not in read and name != "base_model"
    ]
    for name, (other, values) in ONLY_IF.items():
        if name in given and name in read and getattr(config, other) not in values:
            told.append(f"{name} is not used: it is read with {other} {' or '.join(map(str, values))} alone.")
    return told


def _who(name: str, config: TrainConfig) -> str:
    return f"adapter {config.adapter}" if any(name in fields for fields in READS.values()) else config.method


def check_settings(config: TrainConfig) -> None:
    """Refuse a setting that waits for something which never comes.

    Raises:
        WinnowError: patience, and no held-out losses on the way.
    """
    if config.patience is not None and config.eval_steps is None:
        raise WinnowError(
            f"patience {config.patience} counts held-out losses, and eval_steps is empty: there is none on the way.",
            fix="--set eval_steps=50, or leave patience out",
        )
