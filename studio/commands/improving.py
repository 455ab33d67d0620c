"""The command that looks for a better wording of a prompt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from studio.commands.performing import CORPUS, JSON, SETTINGS, WHERE, pairs, perform


@click.command("improve-prompt")
@CORPUS
@click.argument("prompt")
@click.option("--synthesizer", default="evol-instruct", show_default=True, help="Whose prompt it is")
@click.option("--model", required=True, help="http://HOST:PORT/v1#MODEL, openai:MODEL, vllm:MODEL, or replay:FILE")
@click.option("--judge", help="Who judges; the same model if not given")
@click.option("--optimizer", help="Who writes new wordings; the same model if not given, a stronger one is better")
@click.option("--steps", type=click.IntRange(min=1), default=3, show_default=True, help="Rounds of new wordings")
@click.option("--batch", type=click.IntRange(min=1), default=10, show_default=True, help="Results shown in a round")
@click.option("--candidates", type=click.IntRange(min=1), default=5, show_default=True, help="Wordings of a round")
@click.option("--dev", type=click.IntRange(min=1), default=50, show_default=True, help="Seed samples to compare on")
@click.option("--seed", default=0, show_default=True)
@click.option("--concurrency", type=click.IntRange(min=1), default=16, show_default=True, help="Calls at the same time")
@click.option("--budget", type=float, metavar="USD", help="US dollars that searches for this prompt may spend")
@click.option("--free", is_flag=True, help="Models on this machine cost nothing")
@SETTINGS
@WHERE
@JSON
def improve_prompt(
    corpus: Path,
    prompt: str,
    synthesizer: str,
    model: str,
    judge: str | None,
    optimizer: str | None,
    steps: int,
    batch: int,
    candidates: int,
    dev: int,
    seed: int,
    concurrency: int,
    budget: float | None,
    free: bool,
    settings: tuple[str, ...],
    where: str | None,
    as_json: bool,
) -> None:
    """Look for a wording of PROMPT with which fewer outcomes are rejected; write it to CORPUS/prompts/PROMPT.md."""
    from curation.corpus import Corpus
    from curation.operators import build
    from synthesis.prompt_improvement import improve_prompt as verb
    from synthesis.synthesizers import SYNTHESIZERS

    operator = build("synthesizer", SYNTHESIZERS, synthesizer, pairs(settings, "--set"))
    opened = Corpus(corpus)
    perform(
        opened.path,
        as_json,
        lambda progress: verb(
            opened,
            operator,
            prompt,
            model,
            judge_spec=judge,
            optimizer_spec=optimizer,
            where=where,
            steps=steps,
            batch=batch,
            candidates=candidates,
            dev=dev,
            seed=seed,
            concurrency=concurrency,
            budget_usd=budget,
            free=free,
            progress=progress,
        ),
        show_wordings,
    )


def show_wordings(report: Any) -> None:
    """What fails before and after, and a line for each wording."""
    from studio.commands.printing import print_facts, print_table

    rates = {"before": f"{report.failure_before:.0%}", "after": f"{report.failure_after:.0%}"}
    told = {**rates, "written": report.written or "-", "calls": report.calls, "failed": report.failed}
    if report.spent_usd:
        told["spent in US dollars"] = report.spent_usd
    if report.stopped:
        told["stopped"] = " ".join(report.stopped.split())
    print_facts(f"prompt {report.prompt}", told)
    rows = [
        {
            "step": one.step,
            "wording": one.version,
            "fails": "-" if one.failure_rate is None else f"{one.failure_rate:.0%}",
            "kept": "yes" if one.kept else "",
            "rejected by": ", ".join(f"{rule} {n}" for rule, n in one.rules.items()) or one.problem or "-",
        }
        for one in report.tried
    ]
    print_table(rows, ["step", "wording", "fails", "kept", "rejected by"])
