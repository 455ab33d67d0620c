"""Was the mix worth it? Held-out loss by source of the base, the trained model, and one trained on random samples.

The random arm trains with the same config on random samples of the same pool with as many tokens (prompts and template
included, counted with the run's tokenizer). Held-out loss favours whatever resembles the held-out rows, and random
samples do by construction: a mix chosen for something else needs a judge or a benchmark beside this number.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from dataclasses import replace as dataclass_replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation.errors import WinnowError
from curation.progress import Progress, silent
from training import answering
from training.answering import AnswersReport, Asked
from training.config import TrainConfig
from training.data.encoding import Encoder
from training.data.mix_folder import MixFolder
from training.judging import lm_eval
from training.judging.answers import replace_lines
from training.judging.comparison import Preference, SourceRow, preference, rows_by_source, source_row, verdict
from training.judging.facts import Facts, keep_facts, read_facts
from training.judging.groups import groups
from training.judging.held_out import HeldOutSet, held_out_set
from training.judging.lm_eval import LmEval
from training.judging.seesaw import LOSSES
from training.runs.run_folder import RunFolder, check_finished, events, status
from training.training import train

if TYPE_CHECKING:
    import numpy as np

Losses = tuple["np.ndarray", "np.ndarray"]
"""Per held-out row the loss of its answer (chosen), and of the rejected one where there is one."""

NO_ANSWERS = "a model that judges answers writes none: its accuracy on held-out pairs is among the run's curves"


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
    groups: dict[str, list[SourceRow]] = field(default_factory=dict)
    """Kind (a column of tags, or of a score that is cut into bands) -> its groups; `source` is a group's name."""
    perplexity: dict[str, float] | None = None
    """Model -> exp of its held-out loss; null where that was not measured."""
    answers: AnswersReport | dict[str, Any] | None = None
    """What the models write; null where it was not asked. As a dict it was found by an earlier evaluation."""
    answers_reason: str | None = None
    lm_eval: LmEval | dict[str, Any] | None = None
    """What the harness found; null where it was not asked. As a dict it was found by an earlier evaluation."""


@dataclass(frozen=True)
class EvaluateReport:
    """The runs in the order they were given."""

    runs: list[RunEvaluation]


def evaluate(
    run_dirs: Sequence[Path | str],
    *,
    baseline: bool = True,
    asked: Asked | None = None,
    corpus: Path | None = None,
    progress: Progress = silent,
) -> EvaluateReport:
    """Measure finished runs on the held-out rows of their mixes; `evaluation.json` in each run keeps the result.

    Args:
        run_dirs: folders of finished runs.
        baseline: also train the random arm, in `RUN/random`, unless that has been done; it can be resumed like any run.
        asked: what is to be found out beside losses: answers, a judge's view of them, tasks of lm-eval. What an earlier
            evaluation of the same weights found out stays.
        corpus: folder of the corpus that the mixes are from: it knows tags, scores and expected answers of held-out
            rows, and keeps the judge's calls.
        progress: called with (done, total, what is being done).

    Raises:
        WinnowError: a run is not finished, its mix has changed, the random arm failed or was stopped, the prompts
            can't be read, or the judge does not answer.
    """
    evaluations = []
    for run_dir in run_dirs:
        run = RunFolder(Path(run_dir).resolve())
        wanted = asked or Asked()
        if wanted.lm_eval and len(run_dirs) > 1:  # mixes may differ in their held-out rows
            wanted = dataclass_replace(wanted, lm_eval=wanted.lm_eval / run.path.name)
        judging = _Judging(run, wanted, corpus, progress)
        judged = judging.judged(baseline=baseline)
        run.write("evaluation.json", asdict(judged))  # the harness may take hours, and fail
        if wanted.lm_eval and judged.reason != NO_ANSWERS:
            judged = dataclass_replace(judged, lm_eval=judging.lm_eval(wanted.lm_eval))
            run.write("evaluation.json", asdict(judged))
        evaluations.append(judged)
    return EvaluateReport(evaluations)


def evaluation(run_dir: Path | str) -> dict[str, Any] | None:
    """What `evaluate` found for the run in this folder; null where it has not been asked."""
    return RunFolder(Path(run_dir)).read("evaluation.json") or None


class _Judging:
    """One run, from its files to what is found out."""

    def __init__(self, run: RunFolder, asked: Asked, corpus: Path | None, progress: Progress) -> None:
        self.run, self.asked, self.corpus, self.progress = run, asked, corpus, progress
        self.config, self.mix = _finished(run)

    def judged(self, *, baseline: bool) -> RunEvaluation:
        from training.methods import method_named

        if method_named(self.config.method).learns_a_judge:
            return _report(self.run, self.config, None, None, reason=NO_ANSWERS)
        baseline = baseline or _has_random_arm(self.run, self.mix)
        no_random = _no_baseline(self.config, self.mix, baseline=baseline)
        random_run = None
        if no_random is None and (self.mix.has("eval") or self.asked.wants_answers):
            random_run = _random_arm(self.run, self.config, self.mix, self.progress)
        keep_facts(self.run, self.mix, self.corpus)
        facts = read_facts(self.run.path, self.mix)
        models = {"base": self.config.base_model, "trained": str(self.run.final)}
        if random_run:
            models["random"] = str(random_run.final)
        held_out, losses, answered = self._measured(models, facts)
        found = _report(
            self.run, self.config, held_out, random_run, **_of_losses(self.mix, held_out, losses, facts, no_random)
        )
        _keep_losses(self.run, held_out, losses)
        return dataclass_replace(found, **self._of_answers(answered), lm_eval=self._lm_eval_before())

    def _measured(
        self, models: Mapping[str, str], facts: Mapping[str, Facts]
    ) -> tuple[HeldOutSet | None, dict[str, Losses], answering.Answering | None]:
        """What each model thinks of the held-out rows, and what it writes; one model in memory at a time."""
        from training.methods.opening import open_model, window_of

        window = window_of(self.config.base_model)
        encoder = self._encoder(window)
        held_out = self._held_out(encoder) if self.mix.has("eval") else None
        answers = None
        if self.asked.wants_answers:
            answers = answering.answering(self.run, self.mix, self.asked, facts, encoder, window, _dtype())
        losses: dict[str, Losses] = {}
        for number, (name, where) in enumerate(models.items()):
            if not (held_out and held_out.rows) and not (answers and answers.prompts):
                break
            self.progress(number, len(models), f"held-out loss of {name}")
            model = _on_device(open_model(where, dtype=_dtype()))
            if held_out and held_out.rows:
                losses[name] = held_out.reference(model)
            if answers:
                answers.ask(name, where, model, self.progress)
            del model
            gc.collect()
        return held_out, losses, answers

    def _held_out(self, encoder: Encoder) -> HeldOutSet:
        """The held-out rows whose answers are to be learned: of answers judged one by one only the good ones."""
        from training.methods import method_named
        from training.methods.kto import judged_set

        if self.config.method == "kto":
            found = judged_set(self.mix, encoder)
            return HeldOutSet(
                [row for row, good in zip(found.rows, found.good, strict=True) if good], [], found.account
            )
        return held_out_set(self.mix, encoder, pairs=method_named(self.config.method).compares)

    def _encoder(self, window: int | None) -> Encoder:
        from training.methods.opening import open_tokenizer

        length = min(self.config.max_length, window or self.config.max_length)
        change = {"max_length": length, "loss_on": _scored(self.config.loss_on)}
        return Encoder.of(open_tokenizer(self.config.base_model), self.config.model_copy(update=change))

    def _of_answers(self, answered: answering.Answering | None) -> dict[str, Any]:
        if answered is not None and answered.prompts:
            calls = (self.corpus or self.run.path) / "calls.sqlite"
            return {"answers": answering.report(answered, calls, self.progress), "answers_reason": None}
        if answered is not None:
            return {"answers_reason": "there is no prompt that can be answered"}
        before = self.run.read("evaluation.json").get("answers")
        if before and before.get("weights", {}).get("trained") == answering.weights_of(str(self.run.final)):
            return {"answers": before}
        return {"answers_reason": "no answers were asked for"}

    def _lm_eval_before(self) -> dict[str, Any] | None:
        """What the harness found of the same weights."""
        before: dict[str, Any] | None = self.run.read("evaluation.json").get("lm_eval")
        if before and before.get("weights") == answering.weights_of(str(self.run.final)):
            return before
        return None

    def lm_eval(self, folder: Path) -> LmEval:
        """Write the tasks and run them where the harness is; what can't be done is its reason, and nothing is lost."""
        weights = answering.weights_of(str(self.run.final))
        encoder = self._encoder(None)

        def rendered(messages: list[Any]) -> str:
            return str(encoder.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))

        try:
            rows = lm_eval.write_tasks(self.mix, folder, encoder.prepared, rendered)
        except WinnowError as error:
            return LmEval(str(folder), 0, "", None, f"{error.message} {error.fix}", weights)
        words = lm_eval.command(folder, self.run.final, self.config.base_model, str(_device()), _dtype())
        if not lm_eval.installed():
            why = "lm-eval is not installed: pip install lm-eval"
            return LmEval(str(folder), rows, lm_eval.as_line(words), None, why, weights)
        self.progress(0, None, "lm-eval")
        try:
            results, reason = lm_eval.run(words, folder), None
        except WinnowError as error:
            results, reason = None, f"{error.message} {error.fix}"
        return LmEval(str(folder), rows, lm_eval.as_line(words), results, reason, weights)


def _of_losses(
    mix: MixFolder,
    held_out: HeldOutSet | None,
    losses: Mapping[str, Losses],
    facts: Mapping[str, Facts],
    no_random: str | None,
) -> dict[str, Any]:
    """The fields of the report that come from held-out losses."""
    if held_out is None or not losses:
        has_rows = mix.has("eval")
        return {"reason": "eval.jsonl has no row that can be measured" if has_rows else "the mix has no held-out rows"}
    chosen = {name: of_chosen for name, (of_chosen, _) in losses.items()}
    overall = source_row(None, held_out.rows, chosen)
    means = {"base": overall.base, "trained": overall.trained, "random": overall.random}
    return {
        "overall": overall,
        "rows": rows_by_source(held_out.rows, chosen),
        "groups": _by_group(held_out, chosen, facts),
        "perplexity": {name: math.exp(min(mean, 700.0)) for name, mean in means.items() if mean is not None},
        "preference": preference(dict(losses)) if held_out.pairs else None,
        "verdict": verdict(overall),
        "reason": f"random: {no_random}" if no_random else None,
    }


def _by_group(
    held_out: HeldOutSet, losses: Mapping[str, np.ndarray], facts: Mapping[str, Facts]
) -> dict[str, list[SourceRow]]:
    found: dict[str, list[SourceRow]] = {}
    for group in groups([row.id for row in held_out.rows], [row.source for row in held_out.rows], facts):
        if group.kind != "source":
            at = list(group.rows)
            row = source_row(group.name, [held_out.rows[i] for i in at], {name: v[at] for name, v in losses.items()})
            found.setdefault(group.kind, []).append(row)
    return found


def _keep_losses(run: RunFolder, held_out: HeldOutSet | None, losses: Mapping[str, Losses]) -> None:
    """Write every row's answer tokens and summed loss (nats) by model: what pairs rows of several runs."""
    rows = held_out.rows if held_out and losses else []
    told = []
    for i, row in enumerate(rows):
        known = {"id": row.id, "source": row.source, "tokens": sum(row.loss)}
        told.append({**known, **{name: float(chosen[i]) for name, (chosen, _) in losses.items()}})
    replace_lines(run.path / LOSSES, told)


def _finished(run: RunFolder) -> tuple[TrainConfig, MixFolder]:
    check_finished(run.path)
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


def _has_random_arm(run: RunFolder, mix: MixFolder) -> bool:
    """Whether a finished arm on the random samples of this mix is there: it costs nothing to compare with."""
    arm = RunFolder(run.path / "random")
    told = (arm.read("data.json").get("sha256") or {}).get("random")
    return status(arm.path).state == "done" and told == mix.hashes(("random",))["random"]


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


def _scored(loss_on: str) -> str:
    """Prompts are not judged, also where they were trained on."""
    return "assistant" if loss_on == "all" else loss_on


def _dtype() -> str:
    import torch

    return "bfloat16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "float32"


def _on_device(model: Any) -> Any:
    return model.to(_device())


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


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
    groups: dict[str, list[SourceRow]] | None = None,
    perplexity: dict[str, float] | None = None,
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
        groups=groups or {},
        perplexity=perplexity,
    )


def _tokens(run: RunFolder) -> int:
    return next((int(event["tokens"]) for event in reversed(events(run.path)) if event["type"] == "data"), 0)
