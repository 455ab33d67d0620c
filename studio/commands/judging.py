"""The command that judges runs, and how its report is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from studio.commands.performing import JSON, perform


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@click.option("--no-baseline", is_flag=True, help="Do not train on random samples of equal token count")
@click.option("--answers", type=click.IntRange(min=0), help="Held-out prompts (or those of --prompts) to be answered")
@click.option("--prompts", type=click.Path(path_type=Path), metavar="FILE", help="JSONL of prompts to be answered")
@click.option("--judge", metavar="SPEC", help="Chat model that compares answers, each pair in both orders")
@click.option("--most-tokens", type=click.IntRange(min=8), default=256, show_default=True, help="Longest answer")
@click.option(
    "--lm-eval", "lm_eval", type=click.Path(path_type=Path), metavar="FOLDER", help="Held-out rows as lm-eval tasks"
)
@JSON
def evaluate(
    runs: tuple[Path, ...],
    no_baseline: bool,
    answers: int | None,
    prompts: Path | None,
    judge: str | None,
    most_tokens: int,
    lm_eval: Path | None,
    as_json: bool,
) -> None:
    """Judge runs beside their base and a random subset: held-out loss by group, answers checked and compared."""
    from curation.language_models.models import without_secrets
    from studio.runs import corpus_of
    from training import evaluate as verb
    from training.answering import Asked

    if judge:
        without_secrets(judge)
    absolute = (path.expanduser().resolve() if path else None for path in (prompts, lm_eval))
    asked = Asked(answers, next(absolute), judge, most_tokens, next(absolute))
    corpus = corpus_of(runs[0])
    perform(
        corpus,
        as_json,
        lambda progress: verb(runs, baseline=not no_baseline, asked=asked, corpus=corpus, progress=progress),
        show_evaluation,
    )


def show_evaluation(report: Any) -> None:
    """The table by source and the verdict of each run, and what its answers show."""
    from studio.commands.printing import as_dict, from_here, print_table

    for run in as_dict(report)["runs"]:
        click.echo(from_here(run["run"]))
        print_table(run["rows"], ["source", "examples", "tokens", "base", "trained", "random"])
        click.echo(str(run["verdict"]))
        if run["answers"]:
            _show_answers(run["answers"])
        if run["lm_eval"]:
            _show_lm_eval(run["lm_eval"])


def _show_answers(found: Mapping[str, Any]) -> None:
    from studio.commands.printing import print_table

    click.echo(f"answers to {found['prompts']:,} prompts")
    print_table(answers_rows(found))
    for rate in found["win_rates"]:
        click.echo(win_rate_line(rate))
    for key, why in (("too_long", "too long for the model"), ("refused", "refused by the chat template")):
        if found.get(key):
            click.echo(f"prompts {why}: {found[key]:,}")
    if not found["win_rates"] and found["judge"]:
        click.echo(f"no win rate: {found['judge_reason']}")


def answers_rows(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per model: lengths, shares that are right, and likeness to references; null where nothing is known."""
    rows = {
        one["model"]: {"model": one["model"], "tokens": one["tokens"], "cut": one["cut"]} for one in found["lengths"]
    }
    for check in found["verified"]:
        for share in check["shares"]:
            rows[share["model"]] |= {check["check"]: share["share"], f"{check['check']} n": share["answers"]}
    for one in found["references"]:
        names = ("rouge1", "rouge2", "rougeL", "bleu")
        rows[one["model"]] |= {name: one[name]["mean"] for name in names}
    columns = dict.fromkeys(name for row in rows.values() for name in row)
    return [{name: row.get(name) for name in columns} for row in rows.values()]


def win_rate_line(rate: Mapping[str, Any]) -> str:
    """One sentence on a win rate."""
    if rate["rate"] is None:
        return f"trained against {rate['against']}: no verdict could be read"
    told = (
        f"trained against {rate['against']}: wins {rate['rate']:.1%} ({rate['low']:.1%} to {rate['high']:.1%}) of "
        f"{rate['prompts']:,}, {rate['wins']} won, {rate['ties']} ties, {rate['losses']} lost"
    )
    controlled = (
        f"; at equal length {rate['controlled']:.1%} ({rate['controlled_low']:.1%} to {rate['controlled_high']:.1%})"
        if rate["controlled"] is not None
        else f"; at equal length not known: {rate['controlled_reason']}"
    )
    unread = f"; pairs without a verdict: {rate['unread']}" if rate["unread"] else ""
    return told + controlled + unread


def _show_lm_eval(found: Mapping[str, Any]) -> None:
    from studio.commands.printing import print_table

    if found["command"]:
        click.echo(f"lm-eval tasks of {found['rows']:,} rows in {found['folder']}; run on the trained model by:")
        click.echo(found["command"])
    if found["results"]:
        rows: Sequence[dict[str, Any]] = [{"task": task, **values} for task, values in found["results"].items()]
        for row in rows:
            print_table([row])
    else:
        click.echo(str(found["reason"]))
