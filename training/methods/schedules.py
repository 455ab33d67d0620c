"""Learning-rate schedules that Transformers does not know by the config's name: wsd.

Warm-up, stable, decay: the rate rises over `warmup_ratio` of the steps, stays, and falls to zero (half a cosine) in the
last `decay_ratio` of them. With `order` staged the last stage is laid into that part: see `training.data.ordering`.
"""

from __future__ import annotations

from typing import Any

from training.config import TrainConfig

_NAMES = {"wsd": "warmup_stable_decay"}


def scheduler_type(config: TrainConfig) -> str:
    """The scheduler as Transformers calls it."""
    return _NAMES.get(config.scheduler, config.scheduler)


def decay_steps(config: TrainConfig, steps: int) -> int:
    """How many of the last steps have a falling rate (wsd): at least one."""
    return max(1, round(steps * config.decay_ratio))


def give_schedule(trainer: Any, config: TrainConfig) -> None:
    """Let a trainer that is built count its own steps for wsd: before that nobody knows how many there are."""
    if config.scheduler != "wsd":
        return
    create = trainer.create_scheduler

    def created(num_training_steps: int, optimizer: Any = None) -> Any:
        trainer.args.lr_scheduler_kwargs = {"num_decay_steps": decay_steps(config, num_training_steps)}
        return create(num_training_steps, optimizer)

    trainer.create_scheduler = created
