"""The process that trains: `python -m training.worker RUN`. It reads the run's folder, and writes there all it does.

Several of them train together where `accelerate launch` starts them; then only the first one writes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
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
from training.runs.best import copy_weights
from training.runs.failures import explained, is_lost
from training.runs.launching import held_by_worker, is_launched, launch_command, shown
from training.runs.pace import peak_memory_gib
from training.runs.ranks import agreed, is_first, processes, rank, wait
from training.runs.recording import Recorder, as_callback
from training.runs.run_folder import EventLog, RunFolder, events, process_start

OTHERS_SECONDS = 5.0
"""How long the first process waits for another one to say why it ended."""
TRAINER_STATE = "trainer_state.json"
"""File of a checkpoint that says where the trainer was."""


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
        self.log = EventLog(self.run, writes=is_first())
        self._stop_asked = stop_asked
        step = self.run.read("status.json").get("step", 0)
        self._status: dict[str, Any] = {"pid": os.getpid(), "process_start": process_start(os.getpid()), "step": step}

    def work(self) -> bool:
        """Train until done or stopped; False when it failed: the traceback is printed, the reason is an event."""
        try:
            self.set_status(state="starting")
            self.log.emit("starting", pid=os.getpid())
            self._train()
        except Exception as error:  # whatever ends a run must be told
            traceback.print_exc()
            self._remove_drafts()
            self._tell_failure(error)
            return False
        return True

    def set_status(self, **fields: Any) -> None:
        """Replace the status file, keeping the fields not named."""
        self._status.update(fields)
        if is_first():
            self.run.write("status.json", self._status)

    def _tell_failure(self, error: Exception) -> None:
        told = explained(error, self.config, self.run)
        if not is_first():
            if not is_lost(error):
                self.run.write(f"failed-{rank()}.json", {"message": told.message, "fix": told.fix})
            return
        others = self._reason_of_others() if is_lost(error) else None
        told = others or told
        with contextlib.suppress(OSError):  # on a full disk
            self.log.emit("failed", message=told.message, fix=told.fix)
            lost = is_lost(error) and others is None
            self.set_status(state="failed", message=told.message, fix=told.fix, **({"lost": True} if lost else {}))

    def _reason_of_others(self) -> WinnowError | None:
        deadline = time.monotonic() + OTHERS_SECONDS
        while time.monotonic() < deadline:
            if found := self.run.failures():
                return WinnowError(found[0]["message"], fix=found[0]["fix"])
            time.sleep(0.1)
        return None

    def _remove_drafts(self) -> None:
        """What was being written: on a full disk it is what fills it."""
        if is_first():
            self.run.remove_incomplete_checkpoints()
            shutil.rmtree(self._draft, ignore_errors=True)

    @property
    def _draft(self) -> Path:
        return self.run.path / ".final"

    def _train(self) -> None:
        from training.methods import method_named
        from training.methods.opening import open_tokenizer, window_of
        from training.methods.setup_facts import strength_told

        _check_devices(self.config)
        config = self._within(window_of(self.config.base_model))
        tokenizer = open_tokenizer(config.base_model)
        encoder = Encoder.of(tokenizer, config)
        mix = MixFolder(Path(self.run.read("data.json")["mix"]))
        method = method_named(config.method)
        data = method.data(mix, config, encoder)
        self._tell_data(data, encoder)
        model = method.opened(config)
        rate, reason = config.rate(model.num_parameters())
        told = {"learning_rate": rate, "reason": reason, "parameters": model.num_parameters()}
        self.log.emit("plan", **told, **strength_told(config))
        recorder, built = self._built(method, Setup(config, self.run, model, encoder, data, [], self._note), mix)
        self._tell_launch(built)
        if is_first():
            self.run.remove_incomplete_checkpoints()
        wait()
        checkpoint, at_its_end = self.run.checkpoint(), None
        if self._asked_to_stop():
            recorder.stopped = True
        elif checkpoint and self._trained_to_its_end(checkpoint, recorder):
            at_its_end = checkpoint
            self._measure(checkpoint, built.trainer, recorder)
        else:
            built.trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        self._end(method, built, tokenizer, recorder, at_its_end)

    def _trained_to_its_end(self, checkpoint: Path, recorder: Recorder) -> bool:
        """Whether the process died after the last step of the run: the trainer would take another one."""
        state = self.run.read(f"{checkpoint.relative_to(self.run.path)}/{TRAINER_STATE}")
        return state["global_step"] >= state["max_steps"] or recorder.over_at(state["global_step"])

    def _measure(self, checkpoint: Path, trainer: Any, recorder: Recorder) -> None:
        """What training does after its last step, with the weights of that step."""
        from transformers import TrainerState

        if trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled:  # only a training loop spreads weights
            recorder.held_out = recorder.answers = None
            self._note("The held-out loss after the last step was not measured: the process had died before.")
        else:
            trainer._load_from_checkpoint(str(checkpoint))
        trainer.state = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE))
        handler = trainer.callback_handler
        trainer.control = handler.on_train_begin(trainer.args, trainer.state, trainer.control)
        trainer.control = handler.on_train_end(trainer.args, trainer.state, trainer.control)

    def _tell_launch(self, built: Built) -> None:
        if is_launched(self.config):
            arguments = built.trainer.args
            # The method may batch otherwise than the config says.
            sequences = arguments.per_device_train_batch_size * arguments.gradient_accumulation_steps * processes()
            self.log.emit(
                "launch",
                command=shown(launch_command(self.run.path, self.config)),
                processes=processes(),
                strategy=self.config.strategy,
                sequences_per_step=sequences,
            )

    def _within(self, window: int | None) -> TrainConfig:
        from training.methods.adapters import virtual_tokens

        window = None if window is None else window - virtual_tokens(self.config)
        if window is None or self.config.max_length <= window:
            return self.config
        self._note(f"max_length {self.config.max_length} is more than the model can read: {window} is used.")
        return self.config.model_copy(update={"max_length": window})

    def _tell_data(self, data: TrainingSet, encoder: Encoder) -> None:
        if encoder.uses_plain_template:
            self._note("The base model has no chat template: a plain one in the layout of ChatML is used and saved.")
        for text in data.notes:
            self._note(text)
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
        if is_first():
            self.run.write("data.json", {**written, "tokens_sha256": sha256})

    def _built(self, method: Method, setup: Setup, mix: MixFolder) -> tuple[Recorder, Built]:
        from training.judging.sampling import sample_answers
        from training.methods.adapters import attach
        from training.methods.schedules import give_schedule
        from training.methods.setup_facts import setup_facts

        recorder = as_callback(Recorder)(
            self.log,
            self.set_status,
            stop_asked=self._asked_to_stop,
            eval_steps=setup.config.eval_steps,
            patience=setup.config.patience,
            history=events(self.run.path),
        )
        recorder.mean_length = setup.data.account.tokens / max(1, setup.data.account.rows)
        setup.callbacks.append(recorder)
        built = method.build(setup)
        attach(built.trainer, setup.config)
        give_schedule(built.trainer, setup.config)
        recorder.source_loss = built.source_loss
        recorder.held_out, account = method.held_out(built, mix, setup.encoder)
        if not method.learns_a_judge:
            recorder.answers = sample_answers(mix, setup.encoder, setup.config)
        recorder.facts = setup_facts(setup)
        self.log.emit("held_out_rows", **_counts(account))
        trainable = sum(p.numel() for p in built.trainer.model.parameters() if p.requires_grad)
        self.log.emit("loaded", trainable=trainable, device=str(built.trainer.args.device), **built.told)
        return recorder, built

    def _asked_to_stop(self) -> bool:
        return agreed(self._stop_asked() or self.run.stop_file.exists())

    def _end(
        self, method: Method, built: Built, tokenizer: Any, recorder: Recorder, at_its_end: Path | None = None
    ) -> None:
        self.log.emit("memory", peak_memory_gib=peak_memory_gib())
        step = built.trainer.state.global_step
        if recorder.stopped:
            self.log.emit("stopped", step=step)
            self.set_status(state="stopped")
            return
        self._save(method, built, tokenizer, recorder.best_checkpoint(built.trainer.args.output_dir) or at_its_end)
        self.log.emit("done", step=step)
        self.set_status(state="done", step=step)

    def _save(self, method: Method, built: Built, tokenizer: Any, best: Path | None) -> None:
        draft = self._draft
        if is_first():
            shutil.rmtree(draft, ignore_errors=True)
        wait()
        if best is None:
            built.trainer.save_model(str(draft))  # by all of them: each has a part of the weights
        elif is_first():
            copy_weights(best, draft)
        if is_first():
            method.finished(built, self.config, draft)
            tokenizer.save_pretrained(str(draft))
            shutil.rmtree(self.run.final, ignore_errors=True)
            draft.replace(self.run.final)
        wait()

    def _note(self, text: str) -> None:
        self.log.emit("note", text=text)


def _counts(account: Account) -> dict[str, Any]:
    return {
        "rows": account.rows,
        "tokens": account.tokens,
        "loss_tokens": account.loss_tokens,
        "truncated": account.truncated,
        "dropped": dict(account.dropped),
    }


def _check_devices(config: TrainConfig) -> None:
    import torch

    gpus, here = torch.cuda.device_count(), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if gpus == 0 and config.strategy != "ddp":
        raise WinnowError(
            f"Strategy {config.strategy} spreads a model over GPUs, and there is none here.",
            fix="take strategy ddp: on a CPU each process holds the whole model",
        )
    if 0 < gpus < here:
        raise WinnowError(
            f"{here} processes on this machine want a GPU each, and there are {gpus}.",
            fix=f"set processes to {gpus} for each machine, and raise accumulation for as many sequences per step",
        )


def _follow_launcher() -> None:
    """End with the launcher, however it ends (Linux): a process without it would wait for the others for ever."""
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def main(run_dir: str) -> int:
    """Train the run in this folder; 1 when it failed."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if "LOCAL_RANK" in os.environ:
        _follow_launcher()
    else:
        # Several visible GPUs need a launcher; without one the first is used.
        os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    try:
        with held_by_worker(RunFolder(Path(run_dir).resolve())):
            worked = Worker(run_dir, stop_asked=lambda: bool(asked)).work()
    except WinnowError as error:  # another process has the run, and its files
        sys.stderr.write(f"{error}\n")
        return 1
    if worked and processes() > 1:
        import torch

        torch.distributed.destroy_process_group()
    return 0 if worked else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
