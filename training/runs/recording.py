"""What a training process tells the outside: the trainer's callbacks, as events and status."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from curation.errors import WinnowError
from training.advice.compute import peak_of
from training.runs.best import Best
from training.runs.pace import Pace, cost, device_name
from training.runs.ranks import is_first, wait
from training.runs.run_folder import MARK_OF_COMPLETE, EventLog

SetStatus = Callable[..., None]
Answers = Callable[[Any], list[dict[str, Any]]]
"""Model -> answers to the sample prompts, as the `samples` event has them."""

_APART = ("loss", "num_tokens", "total_flos")
"""Keys of the trainer's logs that are told in another way, or not at all."""
_NAMES = {
    "reward_std": "reward_spread",
    "frac_reward_zero_std": "no_spread",
    "completions/mean_length": "answer_tokens",
    "completions/clipped_ratio": "cut_off",
}
"""What TRL calls it -> what events call it."""


class Losses(Protocol):
    """What adds up losses by source."""

    def take(self) -> Any:
        """A dataclass with the sums since the last call; null when there were none."""


class Recorder:
    """The callbacks of one run. `as_callback` makes it a callback of Transformers' trainer."""

    def __init__(
        self,
        log: EventLog,
        set_status: SetStatus,
        *,
        stop_asked: Callable[[], bool],
        eval_steps: int | None,
        patience: int | None = None,
        history: Iterable[dict[str, Any]] = (),
    ) -> None:
        """Keep what is needed at each step.

        Args:
            log: where the events go.
            set_status: replaces the fields of the run's status that it is given.
            stop_asked: asked after every step.
            eval_steps: steps between held-out losses; null for only before and after.
            patience: held-out losses without a better one after which the run ends; null keeps no best checkpoint.
            history: events of the processes before, where the run is resumed.
        """
        self.source_loss: Losses | None = None
        self.held_out: Callable[[Any], dict[str, Any]] | None = None
        self.answers: Answers | None = None
        self.facts: dict[str, Any] | None = None
        """Of the base model and its tokenizer, for the warnings; told once."""
        self.mean_length: float = 0.0
        """Tokens of a sample, for what attention costs."""
        self.stopped = False
        self._log, self._set_status = log, set_status
        self._stop_asked, self._eval_steps = stop_asked, eval_steps
        self._history = list(history)
        self._best = Best(patience)
        self._pace = Pace()
        self._saving_since: float | None = None
        self._measured_at: int | None = None
        self._step, self._tokens_before = 0, 0

    def best_checkpoint(self, checkpoints: Path | str) -> Path | None:
        """Where the best weights are; null where the last ones are the best, or no patience was asked for."""
        best = self._best
        if best.patience is None or best.step is None or best.step == self._step:
            return None
        folder = Path(checkpoints) / f"checkpoint-{best.step}"
        return folder if (folder / MARK_OF_COMPLETE).exists() else None

    def over_at(self, step: int) -> bool:
        """Whether the processes before had waited long enough at this step."""
        return Best.resumed(self._best.patience, self._history, step).over

    def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Say where it starts, and what the held-out loss is before."""
        self._step, self._tokens_before = state.global_step, int(state.num_input_tokens_seen or 0)
        self._log.emit("train_begin", from_step=state.global_step, max_steps=state.max_steps)
        self._set_status(state="running", step=state.global_step, max_steps=state.max_steps)
        self._best = Best.resumed(self._best.patience, self._history, state.global_step)
        self._keep_best(args, state)
        flops, reason = cost(rest["model"], self.mean_length)
        self._pace.use(flops, peak_of(device_name()), getattr(args, "world_size", 1), reason)
        if self.facts:
            self._log.emit("base", **self.facts)
        if state.global_step == 0:
            self._evaluate(rest["model"], 0)
        self._pace.begin(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> Any:
        """Tell the step, take the held-out loss when it is due, stop when asked or when it does not fall any more."""
        self._step = state.global_step
        self._set_status(step=state.global_step)
        if state.global_step < state.max_steps:
            if self._eval_steps and state.global_step % self._eval_steps == 0:
                self._judge(args, state, control, rest["model"])
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
        # Most of TRL's trainers count the tokens of this process, some those of the processes before too.
        tokens = int(logs.get("num_tokens", 0)) - self._tokens_before
        fields: dict[str, Any] = {
            "loss": logs["loss"],
            **_numbers(logs),
            **self._pace.log(state.global_step, state.max_steps, tokens),
        }
        window = self.source_loss.take() if self.source_loss else None
        if window:
            fields |= asdict(window)
        self._refuse_nan(fields, state.global_step)
        self._log.emit("log", step=state.global_step, **fields)
        # A checkpoint comes right after its log: `on_save` takes its seconds away.
        self._saving_since = self._pace.now() if control.should_save else None

    def on_save(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Mark the checkpoint as complete."""
        wait()  # the others write their random states beside it
        if is_first():
            (Path(args.output_dir) / f"checkpoint-{state.global_step}" / MARK_OF_COMPLETE).touch()
        self._log.emit("checkpoint", step=state.global_step)
        if self._saving_since is not None:
            self._pace.not_since(self._saving_since)
            self._saving_since = None

    def on_train_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Say what the held-out loss is after."""
        self._step = state.global_step
        if not self.stopped and self._measured_at != state.global_step:
            measured = self._evaluate(rest["model"], state.global_step)
            if measured is not None:
                self._best.add(state.global_step, measured)
        if not self.stopped and self._best.patience is not None and self._best.step is not None:
            self._log.emit("best", step=self._best.step, value=self._best.value, by=self._best.by)

    def _judge(self, args: Any, state: Any, control: Any, model: Any) -> None:
        measured = self._evaluate(model, state.global_step)
        if measured is None or self._best.patience is None:
            return
        if self._best.add(state.global_step, measured):
            control.should_save = True
            self._keep_best(args, state)
        elif self._best.over:
            control.should_training_stop = True
            self._log.emit(
                "early_stop", step=state.global_step, best_step=self._best.step, patience=self._best.patience
            )

    def _keep_best(self, args: Any, state: Any) -> None:
        """The trainer never deletes the checkpoint that its state calls the best."""
        if self._best.patience is not None and self._best.step is not None:
            state.best_global_step, state.best_metric = self._best.step, self._best.value
            state.best_model_checkpoint = str(Path(args.output_dir) / f"checkpoint-{self._best.step}")

    def _evaluate(self, model: Any, step: int) -> dict[str, Any] | None:
        self._measured_at = step
        measured: dict[str, Any] | None = None
        with self._pace.apart():
            if self.held_out is not None:
                measured = self.held_out(model)
                self._log.emit("held_out", step=step, **measured)
            if self.answers is not None:
                self._log.emit("samples", step=step, answers=self.answers(model))
        return measured

    def _refuse_nan(self, fields: dict[str, Any], step: int) -> None:
        bad = next((key for key in ("loss", "grad_norm") if not math.isfinite(fields.get(key, 0.0))), None)
        if bad:
            raise WinnowError(
                f"Training diverged: {bad} is {fields[bad]} at step {step}.",
                fix=f"lower the learning rate (it was {fields.get('learning_rate'):.3g}), or raise warmup_ratio",
            )


def _numbers(logs: dict[str, Any]) -> dict[str, Any]:
    """What else the trainer measured, under names without slashes; single rewards by their name."""
    fields: dict[str, Any] = {}
    for key, value in logs.items():
        if key in _APART or not isinstance(value, int | float):
            continue
        parts = key.split("/")
        if parts[0] == "rewards" and len(parts) == 3:
            if parts[2] == "mean":
                fields.setdefault("rewards", {})[parts[1]] = value
        else:
            fields[_NAMES.get(key, key.replace("rewards/", "reward_").replace("/", "_"))] = value
    return fields


def as_callback(recorder_class: type[Recorder]) -> Any:
    """The class as a callback of Transformers' trainer, which supplies the callbacks it does not have."""
    from transformers import TrainerCallback

    return type(recorder_class.__name__, (recorder_class, TrainerCallback), {})
