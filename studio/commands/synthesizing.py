"""The command that makes new samples: a pilot with its forecast, or the run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curation.errors import OperatorError
from studio.commands.performing import CORPUS, JSON, SETTINGS, WHERE, facts, pairs, perform

if TYPE_CHECKING:
    from synthesis.acceptance import Acceptance

ACCEPT = click.option(
    "--accept", multiple=True, metavar="NAME=VALUE", help="A rule that new samples must meet, such as max_rouge=0.7"
)
PILOT = "auto"
"""What `--pilot` means without a number."""


@click.command()
@CORPUS
@click.argument("synthesizer")
@click.option(
    "--model",
    required=True,
    help="http://HOST:PORT/v1#MODEL, openai:MODEL, vllm:MODEL, replay:FILE, demo, or none where nobody is asked",
)
@click.option("--judge", help="Another model that judges, named in the same way")
@SETTINGS
@ACCEPT
@WHERE
@click.option("--limit", type=click.IntRange(min=1), help="Seed samples at most")
@click.option("--seed", default=0, show_default=True)
@click.option("--concurrency", type=click.IntRange(min=1), default=16, show_default=True, help="Calls at the same time")
@click.option("--requests-per-minute", type=float, help="Sent to each model at most")
@click.option("--tokens-per-minute", type=float, help="Input and output of each model at most")
@click.option("--budget", type=float, metavar="USD", help="US dollars that the run, resumed or not, may spend")
@click.option("--free", is_flag=True, help="Models on this machine cost nothing")
@click.option(
    "--pilot",
    is_flag=False,
    flag_value=PILOT,
    metavar="[K]",
    help="Only the first K seed samples, then what the whole run will take; 0: an upper bound, and nothing is asked",
)
@JSON
def synthesize(
    corpus: Path,
    synthesizer: str,
    model: str,
    judge: str | None,
    settings: tuple[str, ...],
    accept: tuple[str, ...],
    where: str | None,
    limit: int | None,
    seed: int,
    concurrency: int,
    requests_per_minute: float | None,
    tokens_per_minute: float | None,
    budget: float | None,
    free: bool,
    pilot: str | None,
    as_json: bool,
) -> None:
    """Make new samples from samples of the corpus (see: winnow operators), within a budget."""
    from curation.corpus import Corpus
    from curation.operators import build
    from studio.demo_corpus import DEMO_SEED_SAMPLES, REPLIES
    from synthesis import synthesize as verb
    from synthesis.forecasting import pilot as piloted
    from synthesis.synthesizers import SYNTHESIZERS

    operator = build("synthesizer", SYNTHESIZERS, synthesizer, pairs(settings, "--set"))
    given: dict[str, Any] = {
        "acceptance": acceptance(accept),
        "limit": limit,
        "seed": seed,
        "concurrency": concurrency,
        "requests_per_minute": requests_per_minute,
        "tokens_per_minute": tokens_per_minute,
        "budget_usd": budget,
        "free": free,
    }
    opened = Corpus(corpus)
    if model == "demo":  # its endpoint has answers for its own seed samples only
        model, where = f"replay:{REPLIES}", where or DEMO_SEED_SAMPLES
    given |= {"judge_spec": f"replay:{REPLIES}" if judge == "demo" else judge, "where": where}
    if pilot is None:
        perform(
            opened.path, as_json, lambda progress: verb(opened, operator, model, progress=progress, **given), show_run
        )
        return
    size = pilot_size(pilot)
    perform(
        opened.path,
        as_json,
        lambda progress: piloted(opened, operator, model, size=size, progress=progress, **given),
        show_pilot,
    )


@click.command()
@CORPUS
@click.argument("run")
@click.option("--id", "ids", multiple=True, required=True, metavar="ID", help="The outcome; may be given several times")
@click.option("--note", default="", help="Why")
@JSON
def accept(corpus: Path, run: str, ids: tuple[str, ...], note: str, as_json: bool) -> None:
    """Make samples of outcomes that a rule of a synthesis run rejected (see the page Synthesize)."""
    from curation.corpus import Corpus
    from synthesis.by_hand import accept as verb

    opened = Corpus(corpus)
    perform(
        opened.path,
        as_json,
        lambda progress: verb(opened, run, ids, note=note),
        facts("accepted by hand", "changed", "unchanged"),
    )


def pilot_size(given: str) -> int | None:
    """The number behind `--pilot`; null where there is none.

    Raises:
        OperatorError: it is no number of seed samples.
    """
    if given == PILOT:
        return None
    try:
        return int(given)
    except ValueError:
        raise OperatorError(
            f"--pilot {given!r} is no number.", fix="give how many seed samples, or no number"
        ) from None


def acceptance(given: Iterable[str]) -> Acceptance:
    """The rules of a run from NAME=VALUE words.

    Raises:
        OperatorError: there is no such rule, or its value is wrong.
    """
    from pydantic import ValidationError

    from curation.operators import translated
    from synthesis.acceptance import Acceptance

    try:
        return Acceptance(**pairs(given, "--accept"))
    except ValidationError as error:
        found = translated("acceptance", error, Acceptance.model_fields)
        raise OperatorError(found.message, fix=found.fix.replace("--set", "--accept")) from None


def show_run(report: Any) -> None:
    """What a run did."""
    from studio.commands.printing import print_facts

    names = ("seeds", "accepted", "duplicates", "rejected", "calls", "cached_calls", "failed")
    told = {name.replace("_", " "): getattr(report, name) for name in names}
    if report.judge:
        told["judge"] = report.judge
    if report.cost_usd:
        told["cost in US dollars"] = report.cost_usd
    if report.budget_usd is not None:
        told["spent in US dollars"] = f"{report.spent_usd:,.4f} of {report.budget_usd:,.4f}"
    if report.stopped:
        told["stopped"] = " ".join(report.stopped.split())
    print_facts(report.name, told)


def show_pilot(report: Any) -> None:
    """What the whole run will take."""
    from studio.commands.printing import as_dict, print_facts, print_table

    most, forecast = report.most, report.forecast
    told: dict[str, Any] = {"seed samples": most.seeds}
    bound = f"{most.calls:,} calls, {most.input_tokens:,} tokens in, {most.output_tokens:,} out"
    told["at most"] = bound + (f", {most.cost_usd:,.4f} US dollars" if most.cost_usd is not None else ", price unknown")
    if forecast is not None:
        told |= {
            "pilot": f"{forecast.pilot_seeds:,} seed samples, {forecast.accepted:,} of {forecast.outcomes:,} accepted",
            "accepted samples": in_words(forecast.samples),
            "tokens in": in_words(forecast.input_tokens),
            "tokens out": in_words(forecast.output_tokens),
            "cost in US dollars": in_words(forecast.cost_usd)
            if forecast.cost_usd
            else f"unknown: {forecast.cost_reason}",
            "per accepted sample": in_words(forecast.usd_per_accepted or forecast.tokens_per_accepted)
            + ("" if forecast.usd_per_accepted else " tokens"),
            "seconds": forecast.seconds,
        }
    print_facts(f"{report.name}: forecast", told)
    if forecast is not None and forecast.steps:
        print_table(as_dict(forecast)["steps"])


def in_words(estimate: Any) -> str:
    """An estimate with its interval."""
    if estimate is None:
        return "unknown"
    mean, low, high = (None if n is None else f"{n:,.0f}" if n >= 100 else f"{n:,.3g}" for n in _numbers(estimate))
    return f"{mean} ({low} to {high or 'unlimited'})"


def _numbers(estimate: Any) -> tuple[float, float, float | None]:
    return estimate.mean, estimate.low, estimate.high
