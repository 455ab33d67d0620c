"""The command that trains a model on its own answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from studio.commands.performing import JSON, SETTINGS, WHERE, pairs, perform
from studio.commands.tuning import ADAPTERS

REWARDS = ("final-answer", "code-tests", "format", "length", "no-repetition")
"""As in `training.rewards`, which would have to be imported for help alone; a test holds them equal."""

ELSEWHERE = {
    "rewards": "give --rewards, or --judge",
    "method": "leave it out: every round trains by dpo",
    "loss_on": "leave it out: dpo compares whole answers",
}
"""Fields of the training config that this command does not read -> what to do instead."""


@click.command("iterate-dpo")
@click.argument("prompts", type=click.Path(path_type=Path), metavar="CORPUS|MIX")
@click.option("--name", required=True, help="What to call the runs; a round's is NAME-round-1-...")
@click.option("--base-model", help="Path or name; the corpus' warm-up model if not given")
@click.option("--adapter", type=click.Choice(ADAPTERS), help="Weights to train: lora; full for the small warm-up model")
@click.option("--rewards", default="final-answer", show_default=True, help=f"Added up; of: {', '.join(REWARDS)}")
@click.option("--judge", metavar="SPEC", help="A chat model grades the answers instead, such as http://HOST/v1#MODEL")
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--patience", type=click.IntRange(min=1), default=1, show_default=True, help="Rounds without a rise")
@click.option("--prompts", "most", type=click.IntRange(min=1), help="Answer the first so many prompts alone")
@SETTINGS
@WHERE
@JSON
def iterate_dpo(
    prompts: Path,
    name: str,
    base_model: str | None,
    adapter: str | None,
    rewards: str,
    judge: str | None,
    rounds: int,
    patience: int,
    most: int | None,
    settings: tuple[str, ...],
    where: str | None,
    as_json: bool,
) -> None:
    """Train by DPO on the model's own answers to the prompts of a corpus or mix, round by round.

    Each round the last model writes answers, verified rewards or a judge rate them, and the best of each prompt are
    preferred to the worst. It ends when the held-out preference accuracy no longer rises. The same command goes on
    where one was stopped.
    """
    from curation.errors import OperatorError
    from studio.runs import corpus_of, training_config
    from training.iterating import JudgeRater, Plan, VerifiedRater
    from training.iterating import iterate_dpo as verb

    mix = _mix_of(prompts, name, where)
    corpus = corpus_of(mix)
    home = corpus or mix
    rater: JudgeRater | VerifiedRater
    rater = JudgeRater(judge, home) if judge else VerifiedRater(tuple(word.strip() for word in rewards.split(",")))
    given = pairs(settings, "--set")
    if other := next((name for name in ELSEWHERE if name in given), None):
        raise OperatorError(f"--set {other} would not be read here.", fix=ELSEWHERE[other])
    fields = {"adapter": adapter, "eval_steps": None, **given, "method": "dpo"}
    config = training_config(corpus, mix, base_model, fields)
    plan = Plan(mix.resolve(), config, name, home / "runs", home / "mixes", rater, rounds, patience, most)
    perform(corpus, as_json, lambda progress: verb(plan, progress=progress), show_rounds)


def _mix_of(prompts: Path, name: str, where: str | None) -> Path:
    """The mix itself; of a corpus, one that is exported with all samples that meet the condition."""
    from curation.corpus import Corpus
    from curation.errors import OperatorError
    from curation.mixing import Mix, Part, export

    prompts = prompts.expanduser().resolve()
    if not (prompts / "corpus.duckdb").exists():
        if where:
            raise OperatorError(f"--where chooses samples of a corpus, and {prompts} is a mix.", fix="leave it out")
        return prompts
    corpus = Corpus(prompts)
    mix = Mix(name=f"{name}-prompts", parts=(Part(where=where or "true"),))
    folder = prompts / "mixes" / mix.name
    export(corpus, mix, folder)
    return folder


def show_rounds(report: Any) -> None:
    """A line for each round, why it ended, and what to keep."""
    from studio.commands.printing import as_dict, from_here, print_facts, print_table

    columns = ["number", "prompts", "pairs", "reward", "held_out_before", "held_out_after", "accuracy", "low", "high"]
    print_table(as_dict(report)["rounds"], [*columns, "answer_tokens"])
    print_facts(
        f"iterate-dpo {report.name}",
        {
            "judged by": report.judged_by,
            "stopped": report.stopped,
            "best": f"round {report.best}" if report.best else "the model it began with",
            "model": from_here(report.model),
            "held-out pairs": report.held_out_pairs,
            "dropped": report.dropped,
        },
    )
