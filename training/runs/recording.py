"""What a training process tells the outside: the trainer's callbacks, as events and status."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from curation.errors import WinnowError
from training.runs.run_folder import MARK_OF_COMPLETE, EventLog

SetStatus = Callable[..., None]

_LOGGED = ("grad_norm", "learning_rate", "epoch", "rewards/accuracies", "rewards/margins")


class Losses(Protocol):
    """What adds up losses by source."""

    def take(self) -> Any:
        """A dataclass with the sums since the last call; null when there were none."""


class Recorder:
    """The callbacks of one run. `as_callback` makes it a callback of Transformers' trainer."""

    def __init__(
        self, log: EventLog, set_status: SetStatus, *, stop_asked: Callable[[], bool], eval_steps: int | None
    ) -> None:
        """Keep what is needed at each step.

        Args:
            log: where the events go.
            set_status: replaces the fields of the run's status that it is given.
            stop_asked: asked after every step.
            eval_steps: steps between held-out losses; null for only before and after.
        """
        self.source_loss: Losses | None = None
        self.held_out: Callable[[Any], dict[str, Any]] | None = None
        self.stopped = False
        self._log, self._set_status = log, set_status
        self._stop_asked, self._eval_steps = stop_asked, eval_steps
        self._began = time.monotonic()
        self._evaluating = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Say where it starts, and what the held-out loss is before."""
        self._log.emit("train_begin", from_step=state.global_step, max_steps=state.max_steps)
        self._set_status(state="running", step=state.global_step, max_steps=state.max_steps)
        if state.global_step == 0:
            self._evaluate(rest["model"], 0)
        self._began, self._evaluating = time.monotonic(), 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> Any:
        """Tell the step, take the held-out loss when it is due, stop when asked."""
        self._set_status(step=state.global_step)
        if state.global_step < state.max_steps:
            if self._eval_steps and state.global_step % self._eval_steps == 0:
                self._evaluate(rest["model"], state.global_step)
            if self._stop_asked():
                self.stopped = control.should_training_stop = control.should_save = True
        # A checkpoint begins a new window of the logged loss, so that a resumed run logs what an uninterrupted one
        # does; and it comes after the log, so that weights spoilt by a NaN are never saved over good ones.
        control.should_log = control.should_log or control.should_save
        return control

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **rest: Any) -> None:
        """Write the losses since the last log."""
        if not logs or "loss" not in logs:
            return
        # TRL counts the tokens since this process began; seconds for held-out losses are no training.
        seconds = time.monotonic() - self._began - self._evaluating
        fields: dict[str, Any] = {
            "loss": logs["loss"],
            **{key.replace("rewards/", "reward_"): logs[key] for key in _LOGGED if key in logs},
            "seconds": round(seconds, 3),
            "tokens_seen": int(logs.get("num_tokens", 0)),
        }
        window = self.source_loss.take() if self.source_loss else None
        if window:
            fields |= asdict(window)
        self._refuse_nan(fields, state.global_step)
        self._log.emit("log", step=state.global_step, **fields)

    def on_save(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Mark the checkpoint as complete."""
        (Path(args.output_dir) / f"checkpoint-{state.global_step}" / MARK_OF_COMPLETE).touch()
        self._log.emit("checkpoint", step=state.global_step)

    def on_train_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Say what the held-out loss is after."""
        if not self.stopped:
            self._evaluate(rest["model"], state.global_step)

    def _evaluate(self, model: Any, step: int) -> None:
        if self.held_out is None:
            return
        began = time.monotonic()
        self._log.emit("held_out", step=step, **self.held_out(model))
        self._evaluating += time.monotonic() - began

    def _refuse_nan(self, fields: dict[str, Any], step: int) -> None:
        bad = next((key for key in ("loss", "grad_norm") if not math.isfinite(fields.get(key, 0.0))), None)
        if bad:
            raise WinnowError(
                f"Training diverged: {bad} is {fields[bad]} at step {step}.",
                fix=f"lower the learning rate (it was {fields.get('learning_rate'):.3g}), or raise warmup_ratio",
            )


def as_callback(recorder_class: type[Recorder]) -> Any:
    """The class as a callback of Transformers' trainer, which supplies the callbacks it does not have."""
    from transformers import TrainerCallback

    return type(recorder_class.__name__, (recorder_class, TrainerCallback), {})
