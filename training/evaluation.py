"""Was the mix worth it? Held-out loss by source of the base, the trained model, and one trained on random samples.

The random arm trains with the same config on random samples of the same pool with as many tokens (prompts and template
included, counted with the run's tokenizer). Held-out loss favours whatever resembles the held-out rows, and random
samples do by construction: a mix chosen for something else needs a judge or a benchmark beside this number.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation.errors import WinnowError
from curation.progress import Progress, silent
from training.config import TrainConfig
from training.data.encoding import Encoder
from training.data.mix_folder import MixFolder
from training.judging.comparison import Preference, SourceRow, preference, rows_by_source, source_row, verdict
from training.judging.held_out import HeldOutSet, held_out_set
from training.runs.run_folder import RunFolder, events, status
from training.training import train

if TYPE_CHECKING:
    import numpy as np

Losses = tuple["np.ndarray", "np.ndarray"]
"""Per held-out row the loss of its answer (chosen), and of the rejected one where there is one."""


@dataclass(frozen=True)
class RunEvaluation:
    """One run, judged."""

    run: str
    base_model: str
    method: str
    overall: SourceRow | None
    """null where nothing could be measured: `reason` says why."""
    rows: list[SourceRow]
    """By source, sorted."""
    preference: Preference | None
    """Only for dpo."""
    verdict: str
    reason: str | None
    """Why a number is null."""
    random_run: str | None
    tokens: int
    """That the run trained on, in one pass."""
    random_tokens: int | None
    truncated: int
    """Held-out rows that were cut at max_length."""
    dropped: dict[str, int]
    """Reason -> held-out rows that could not be measured."""


@dataclass(frozen=True)
class EvaluateReport:
    """The runs in the order they were given."""

    runs: list[RunEvaluation]


def evaluate(run_dirs: Sequence[Path | str], *, baseline: bool = True, progress: Progress = silent) -> EvaluateReport:
    """Measure finished runs on the held-out rows of their mixes; `evaluation.json` in each run keeps the result.

    Args:
        run_dirs: folders of finished runs.
        baseline: also train the random arm, in `RUN/random`, unless that has been done; it can be resumed like any run.
        progress: called with (done, total, what is being done).

    Raises:
        WinnowError: a run is not finished, its mix has changed, or the random arm failed or was stopped.
    """
    evaluations = []
    for run_dir in run_dirs:
        run = RunFolder(Path(run_dir).resolve())
        judged = _judged(run, baseline=baseline, progress=progress)
        run.write("evaluation.json", asdict(judged))
        evaluations.append(judged)
    return EvaluateReport(evaluations)


def evaluation(run_dir: Path | str) -> dict[str, Any] | None:
    """What `evaluate` found for the run in this folder; null where it has not been asked."""
    return RunFolder(Path(run_dir)).read("evaluation.json") or None


def _judged(run: RunFolder, *, baseline: bool, progress: Progress) -> RunEvaluation:
    config, mix = _finished(run)
    random_run, no_random = None, _no_baseline(config, mix, baseline=baseline)
    has_rows = mix.has("eval")
    if has_rows and not no_random:
        random_run = _random_arm(run, config, mix, progress)
    models = {"base": config.base_model, "trained": str(run.final)}
    if random_run:
        models["random"] = str(random_run.final)
    held_out, losses = _measured(config, mix, models, progress) if has_rows else (None, {})
    if held_out is None or not losses:
        reason = "eval.jsonl has no row that can be measured" if has_rows else "the mix has no held-out rows"
        return _report(run, config, held_out, random_run, reason=reason)
    overall = source_row(None, held_out.rows, {name: chosen for name, (chosen, _) in losses.items()})
    return _report(
        run,
        config,
        held_out,
        random_run,
        overall=overall,
        rows=rows_by_source(held_out.rows, {name: chosen for name, (chosen, _) in losses.items()}),
        preference=preference(losses) if held_out.pairs else None,
        verdict=verdict(overall),
        reason=f"random: {no_random}" if no_random else None,
    )


def _finished(run: RunFolder) -> tuple[TrainConfig, MixFolder]:
    now = status(run.path)
    if now.state == "none":
        raise WinnowError(f"There is no run in {run.path}.", fix="give a folder that winnow train wrote")
    if now.state != "done":
        raise WinnowError(
            f"The run {run.path} is not finished: {now.state} at step {now.step} of {now.max_steps or '?'}.",
            fix="run its winnow train command again: it goes on from the last checkpoint",
        )
    data = run.read("data.json")
    mix = MixFolder(Path(data["mix"]))
    held_out = mix.hashes(("eval",))["eval"]
    if not mix.path.is_dir() or held_out != data["sha256"].get("eval"):
        raise WinnowError(
            f"The held-out rows of the run {run.path} are gone or changed: {mix.path / 'eval.jsonl'}.",
            fix="export the same mix to the same folder again",
        )
    return TrainConfig.from_file(run.path / "config.json"), mix


def _no_baseline(config: TrainConfig, mix: MixFolder, *, baseline: bool) -> str | None:
    if config.arm == "random":
        return "the run is itself a random arm"
    if not baseline:
        return "no baseline was asked for"
    return None if mix.has("random") else "the mix has no random.jsonl"


def _random_arm(run: RunFolder, config: TrainConfig, mix: MixFolder, progress: Progress) -> RunFolder:
    def told(done: int, total: int | None, message: str) -> None:
        progress(done, total, f"random arm: {message}")

    arm = RunFolder(run.path / "random")
    report = train(mix.path, config.model_copy(update={"arm": "random"}), arm.path, progress=told)
    if report.state != "done":
        raise WinnowError(
            f"The random arm was stopped at step {report.steps} of {report.max_steps}.",
            fix="run the same command again: it goes on from there",
        )
    return arm


def _measured(
    config: TrainConfig, mix: MixFolder, models: dict[str, str], progress: Progress
) -> tuple[HeldOutSet, dict[str, Losses]]:
    """The held-out rows, and what each model thinks of them; one model in memory at a time."""
    from training.methods import method_named
    from training.methods.opening import open_model, open_tokenizer, window_of

    window = window_of(config.base_model)
    tokenizer = open_tokenizer(config.base_model)
    encoder = Encoder(
        tokenizer, max_length=min(config.max_length, window or config.max_length), loss_on=_scored(config.loss_on)
    )
    held_out = held_out_set(mix, encoder, pairs=method_named(config.method).compares)
    losses: dict[str, Losses] = {}
    for number, (name, where) in enumerate(models.items()):
        if held_out.rows:
            progress(number, len(models), f"held-out loss of {name}")
            losses[name] = held_out.reference(_on_device(open_model(where, dtype=_dtype())))
            gc.collect()
    return held_out, losses


def _scored(loss_on: str) -> str:
    """Prompts are not judged, also where they were trained on."""
    return "assistant" if loss_on == "all" else loss_on


def _dtype() -> str:
    import torch

    return "bfloat16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "float32"


def _on_device(model: Any) -> Any:
    import torch

    return model.to("cuda" if torch.cuda.is_available() else "cpu")


def _report(
    run: RunFolder,
    config: TrainConfig,
    held_out: HeldOutSet | None,
    random_run: RunFolder | None,
    *,
    reason: str | None,
    overall: SourceRow | None = None,
    rows: list[SourceRow] | None = None,
    preference: Preference | None = None,
    verdict: str | None = None,
) -> RunEvaluation:
    return RunEvaluation(
        run=str(run.path),
        base_model=config.base_model,
        method=config.method,
        overall=overall,
        rows=rows or [],
        preference=preference,
        verdict=verdict or f"not measured: {reason}",
        reason=reason,
        random_run=str(random_run.path) if random_run else None,
        tokens=_tokens(run),
        random_tokens=_tokens(random_run) if random_run else None,
        truncated=held_out.account.truncated if held_out else 0,
        dropped=dict(held_out.account.dropped) if held_out else {},
    )


def _tokens(run: RunFolder) -> int:
    return next((int(event["tokens"]) for event in reversed(events(run.path)) if event["type"] == "data"), 0)
