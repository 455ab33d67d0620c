"""The process that trains: `python -m training.worker RUN`. It reads the run's folder, and writes there all it does."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from curation.errors import WinnowError
from training.config import TrainConfig
from training.data.encoding import Account, Encoder
from training.data.mix_folder import MixFolder
from training.data.training_set import TrainingSet
from training.methods.method import Built, Method, Setup
from training.runs.recording import Recorder, as_callback
from training.runs.run_folder import EventLog, RunFolder, process_start


class Worker:
    """One run in this process."""

    def __init__(self, run_dir: Path | str, *, stop_asked: Callable[[], bool] = lambda: False) -> None:
        """Open the run's folder.

        Args:
            run_dir: holds config.json and data.json.
            stop_asked: asked after every step, besides the run's STOP file.
        """
        self.run = RunFolder(Path(run_dir).resolve())
        self.config = TrainConfig.from_file(self.run.path / "config.json")
        self.log = EventLog(self.run)
        self._stop_asked = stop_asked
        self._status: dict[str, Any] = {"pid": os.getpid(), "process_start": process_start(os.getpid()), "step": 0}

    def work(self) -> bool:
        """Train until done or stopped; False when it failed: the traceback is printed, the reason is an event."""
        try:
            self.set_status(state="starting")
            self.log.emit("starting", pid=os.getpid())
            self._train()
        except Exception as error:  # whatever ends a run must be told
            traceback.print_exc()
            told = explained(error, self.config, self.run)
            self.log.emit("failed", message=told.message, fix=told.fix)
            self.set_status(state="failed", message=told.message, fix=told.fix)
            return False
        return True

    def set_status(self, **fields: Any) -> None:
        """Replace the status file, keeping the fields not named."""
        self._status.update(fields)
        self.run.write("status.json", self._status)

    def _train(self) -> None:
        from training.methods import method_named
        from training.methods.adapters import weights_dtype
        from training.methods.opening import open_model, open_tokenizer, window_of

        config = self._within(window_of(self.config.base_model))
        tokenizer = open_tokenizer(config.base_model)
        encoder = Encoder(tokenizer, max_length=config.max_length, loss_on=config.loss_on)
        mix = MixFolder(Path(self.run.read("data.json")["mix"]))
        method = method_named(config.method)
        data = method.data(mix, config, encoder)
        self._tell_data(data, encoder)
        model = open_model(config.base_model, dtype=weights_dtype(config))
        rate, reason = config.rate(model.num_parameters())
        self.log.emit("plan", learning_rate=rate, reason=reason, parameters=model.num_parameters())
        recorder, built = self._built(method, Setup(config, self.run, model, encoder, data, []), mix)
        trainer = built.trainer
        self.run.remove_incomplete_checkpoints()
        checkpoint = self.run.checkpoint()
        if self._asked_to_stop():
            recorder.stopped = True
        else:
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        self._end(trainer, tokenizer, stopped=recorder.stopped)

    def _within(self, window: int | None) -> TrainConfig:
        if window is None or self.config.max_length <= window:
            return self.config
        self._note(f"max_length {self.config.max_length} is more than the model can read: {window} is used.")
        return self.config.model_copy(update={"max_length": window})

    def _tell_data(self, data: TrainingSet, encoder: Encoder) -> None:
        if encoder.uses_plain_template:
            self._note("The base model has no chat template: a plain one in the layout of ChatML is used and saved.")
        if not all(encoder.ends_turns(row) for row in data.rows[:100]):
            self._note("The end of a turn carries no loss in this chat template: the model may not learn to stop.")
        if self.config.arm == "random" and data.account.tokens < 0.98 * data.mix_tokens:
            self._note(f"random.jsonl has only {data.account.tokens} tokens, the mix {data.mix_tokens}.")
        self.log.emit("data", mix_tokens=data.mix_tokens, **_counts(data.account))
        self._keep_data(data.sha256())

    def _keep_data(self, sha256: str) -> None:
        """Refuse other token ids than the run began with; use as many threads, for sums depend on their number."""
        import torch

        written = self.run.read("data.json")
        torch.set_num_threads(written.setdefault("threads", torch.get_num_threads()))
        if written.get("tokens_sha256", sha256) != sha256:
            raise WinnowError(
                "The token ids are not those this run began with: the tokenizer or its chat template has changed.",
                fix="restore the base model, or train into another run folder",
            )
        self.run.write("data.json", {**written, "tokens_sha256": sha256})

    def _built(self, method: Method, setup: Setup, mix: MixFolder) -> tuple[Recorder, Built]:
        recorder = as_callback(Recorder)(
            self.log, self.set_status, stop_asked=self._asked_to_stop, eval_steps=setup.config.eval_steps
        )
        setup.callbacks.append(recorder)
        built = method.build(setup)
        recorder.source_loss = built.source_loss
        recorder.held_out, account = method.held_out(built, mix, setup.encoder)
        self.log.emit("held_out_rows", **_counts(account))
        trainable = sum(p.numel() for p in built.trainer.model.parameters() if p.requires_grad)
        self.log.emit("loaded", trainable=trainable, device=str(built.trainer.args.device), **built.told)
        return recorder, built

    def _asked_to_stop(self) -> bool:
        return self._stop_asked() or self.run.stop_file.exists()

    def _end(self, trainer: Any, tokenizer: Any, *, stopped: bool) -> None:
        self.log.emit("memory", peak_memory_gib=_peak_memory_gib())
        if stopped:
            self.log.emit("stopped", step=trainer.state.global_step)
            self.set_status(state="stopped")
            return
        draft = self.run.path / ".final"
        shutil.rmtree(draft, ignore_errors=True)
        trainer.save_model(str(draft))
        tokenizer.save_pretrained(str(draft))
        shutil.rmtree(self.run.final, ignore_errors=True)
        draft.replace(self.run.final)
        self.log.emit("done", step=trainer.state.global_step)
        self.set_status(state="done", step=trainer.state.global_step)

    def _note(self, text: str) -> None:
        self.log.emit("note", text=text)


def explained(error: Exception, config: TrainConfig, run: RunFolder) -> WinnowError:
    """What ended a run, as the two lines a user reads."""
    if isinstance(error, WinnowError):
        return error
    text = str(error).strip()
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in text:
        lora = "" if config.adapter == "lora" else ", use adapter lora"
        return WinnowError(
            f"Not enough memory with batch_size {config.batch_size}, max_length {config.max_length}, {config.adapter}.",
            fix=f"halve batch_size and double accumulation, lower max_length{lora}; the last checkpoint is kept",
        )
    if (isinstance(error, OSError) and error.errno == errno.ENOSPC) or "No space left on device" in text:
        return WinnowError(
            f"The disk is full: {run.path} could not be written.", fix="free some space and run the same command again"
        )
    first = text.splitlines()[0] if text else "no message"
    return WinnowError(f"Training failed: {type(error).__name__}: {first}", fix=f"read {run.path / 'log.txt'}")


def _counts(account: Account) -> dict[str, Any]:
    return {
        "rows": account.rows,
        "tokens": account.tokens,
        "loss_tokens": account.loss_tokens,
        "truncated": account.truncated,
        "dropped": dict(account.dropped),
    }


def _peak_memory_gib() -> float:
    """Of the GPU where there is one, else of this process."""
    import torch

    if torch.cuda.is_available():
        return round(float(torch.cuda.max_memory_allocated()) / 2**30, 3)
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30, 3)


def main(run_dir: str) -> int:
    """Train the run in this folder; 1 when it failed."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    # Several visible GPUs need a launcher; without one the first is used.
    os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return 0 if Worker(run_dir, stop_asked=lambda: bool(asked)).work() else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
