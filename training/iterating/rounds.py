"""Iterative DPO: a model answers, it learns to prefer its best answers to its worst, and the new model answers again.

Everything is stored under a name made from its content, so that a call that was killed goes on where it was:

MIXES/NAME-round-1-ab12cd/answers/   what the model wrote that the round began with
MIXES/NAME-round-1-ab12cd/ratings/   how good each answer is
MIXES/NAME-round-1-ab12cd/           the pairs: train.jsonl, eval.jsonl and a manifest that tells where they are from
RUNS/NAME-round-1-ab12cd/            the training run; round.json in it: the round is over

The held-out pairs are made once, of the first model's answers to held-out prompts: every round is measured on the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from curation.errors import WinnowError
from curation.names import checked_name
from curation.progress import Progress, silent
from training.config import TrainConfig
from training.iterating.plan import Plan, check_plan, material_of
from training.iterating.step import Round, Step, Training, Work
from training.runs.run_folder import RunFolder
from training.training import TrainReport, train


@dataclass(frozen=True)
class IterateReport:
    """The rounds, and which of them to keep."""

    name: str
    base_model: str
    judged_by: str
    rounds: list[Round]
    best: int
    """Number of the best round, see `best_round`; 0 where none is better than the model it began with."""
    model: str
    """What that round trained."""
    stopped: str
    """Why there was no further round."""
    held_out_prompts: int
    held_out_pairs: int
    dropped: dict[str, int] = field(default_factory=dict)
    """Reason -> rows of the mix that can't be prompts."""


def iterate_dpo(plan: Plan, *, training: Training | None = None, progress: Progress = silent) -> IterateReport:
    """Train by DPO on the model's own answers, round by round, until that no longer makes it better.

    Every round draws `answers_per_prompt` answers to each prompt at the config's temperature from the last round's
    model, rates them, and trains that model to prefer the best to the worst.

    Source: Yuan et al. 2024, Self-Rewarding Language Models, arXiv:2401.10020; Xiong et al. 2024, arXiv:2312.11456;
    with verified answers Pang et al. 2024, Iterative Reasoning Preference Optimization, arXiv:2404.19733.

    Differs from the source: the rater and the prompts are the same in every round; the reference of a round is the
    model that it began with; it stops by itself.

    Args:
        plan: what to do.
        training: how a run is trained; in a process of its own when null.
        progress: told the rounds that are over, and what is being done.

    Raises:
        WinnowError: the config can't train, no row can be a prompt, no prompt gave a pair in the first round, or a
            training failed.
        ModelError: a model can't be opened, or the judge could not be reached.
        KeyboardInterrupt: a training was stopped.
    """
    checked_name("run", plan.name)
    check_plan(plan)
    rounds: list[Round] = []

    def told(done: int, total: int | None, message: str) -> None:
        progress(
            len(rounds), plan.rounds, f"round {len(rounds) + 1}: {message}" + (f" ({done}/{total})" if total else "")
        )

    def trained(mix: Path, config: TrainConfig, run: Path) -> TrainReport:
        return train(mix, config, run, progress=told)

    work = Work(plan, material_of(plan), training or trained, told)
    step: Step | None = None
    stopped = f"{plan.rounds} rounds were asked for"
    while len(rounds) < plan.rounds:
        step = Step(work, len(rounds) + 1, step)
        made = step.made(rounds[-1] if rounds else None)
        if isinstance(made, str):
            stopped = made
            break
        rounds.append(made)
        if len(rounds) < plan.rounds and rounds_without_rise(rounds) >= plan.patience:
            measure = "preference accuracy" if rounds[0].held_out_pairs else "reward"
            stopped = f"the held-out {measure} has not risen for {rounds_without_rise(rounds)} round(s)"
            break
    if not rounds:
        raise _nothing_to_prefer(stopped, plan)
    return _report(work, rounds, stopped)


def rounds_without_rise(rounds: Sequence[Round]) -> int:
    """Rounds since the one that was better than all before it, and than the first model; 0 if nothing is measured."""
    return len(rounds) - best_round(rounds)


def best_round(rounds: Sequence[Round]) -> int:
    """Number of the best round: the highest held-out accuracy, of equal ones the highest held-out reward, the first.

    0 is the first model, half of whose pairs are right by chance. Without held-out pairs the reward decides; where
    nothing is measured, it is the last round.
    """
    values = [(0.5, rounds[0].held_out_before or 0.0)]
    values += [(r.accuracy or 0.0, r.held_out_after or 0.0) for r in rounds]
    if not rounds[0].held_out_pairs:
        values = [(0.0, reward) for _, reward in values]
    measured = rounds[0].held_out_pairs or any(r.held_out_after is not None for r in rounds)
    return values.index(max(values)) if measured else len(rounds)


def _report(work: Work, rounds: list[Round], stopped: str) -> IterateReport:
    best = best_round(rounds)
    plan, material = work.plan, work.material
    return IterateReport(
        name=plan.name,
        base_model=plan.config.base_model,
        judged_by=plan.rater.name,
        rounds=rounds,
        best=best,
        model=str(RunFolder(Path(rounds[best - 1].run)).final) if best else plan.config.base_model,
        stopped=stopped,
        held_out_prompts=len(material.held_out),
        held_out_pairs=rounds[0].held_out_pairs,
        dropped=dict(material.account.dropped),
    )


def _nothing_to_prefer(reason: str, plan: Plan) -> WinnowError:
    return WinnowError(
        f"{reason} There is nothing to prefer in the answers of {plan.config.base_model}.",
        fix="begin with a model that gets some right (winnow train with method sft), or raise answers_per_prompt",
    )
