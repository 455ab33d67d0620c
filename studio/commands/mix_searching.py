"""The command that searches for a mix by small runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from studio.commands.performing import JSON, SETTINGS, pairs, perform
from studio.commands.tuning import ADAPTERS
from training.mix_search.design import in_words

FOLDER = "searches"
"""Of a corpus: where searches lie."""


@click.command("mix-search")
@click.argument("mix", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="What to call the search")
@click.option("--over", type=click.Choice(("sizes", "weights")), default="sizes", show_default=True)
@click.option("--runs", type=click.IntRange(min=2), help="Sizes (4 or more), or mixes (2 x sources + 2)")
@click.option("--repeats", type=click.IntRange(min=1), default=1, show_default=True, help="Runs of each size or mix")
@click.option("--smallest", type=float, default=1 / 16, show_default=True, help="sizes: share of the mix to begin with")
@click.option("--share", type=float, default=0.5, show_default=True, help="weights: text of a run, of the mix's text")
@click.option("--seed", default=0, show_default=True)
@click.option("--base-model", help="Path or name; the corpus' warm-up model if not given")
@click.option("--adapter", type=click.Choice(ADAPTERS), help="Weights to train: lora; full for the small warm-up model")
@SETTINGS
@JSON
def mix_search(
    mix: Path,
    name: str,
    over: str,
    runs: int | None,
    repeats: int,
    smallest: float,
    share: float,
    seed: int,
    base_model: str | None,
    adapter: str | None,
    settings: tuple[str, ...],
    as_json: bool,
) -> None:
    """Train small runs on parts of MIX, or on other weights of its sources, and say what more data would bring."""
    from curation.names import checked_name
    from studio.runs import corpus_of, training_config
    from training.mix_search.searching import DEFAULTS, Search, search

    corpus = corpus_of(mix)
    config = training_config(corpus, mix, base_model, {**DEFAULTS, "adapter": adapter, **pairs(settings, "--set")})
    home = corpus or mix
    wanted = Search(name, over, runs, repeats, smallest, share, seed)  # type: ignore[arg-type]
    perform(
        corpus,
        as_json,
        lambda progress: search(
            mix,
            config,
            wanted,
            folder=home / FOLDER / checked_name("search", name),
            runs_dir=home / "runs",
            progress=progress,
        ),
        show_search,
    )


def show_search(report: Any) -> None:
    """The runs, what they show, and which to make next."""
    from studio.commands.printing import as_dict, print_table

    told = as_dict(report)
    print_table([trial_row(trial) for trial in told["trials"]])
    for line in findings(told):
        click.echo(line)
    if told["next"]:
        click.echo("\nruns that would tell most")
        print_table([{"run": run["what"], "worth": run["worth"]} for run in told["next"]])
    for note in told["notes"]:
        click.echo(note)


def trial_row(trial: dict[str, Any]) -> dict[str, Any]:
    """A run of a search as a row of its table."""
    what = trial["share"] if trial["weights"] is None else in_words(trial["weights"])
    kept = {key: trial[key] for key in ("rows", "tokens", "base", "loss", "seconds")}
    return {"size" if trial["weights"] is None else "weights": what, **kept, "run": trial["name"]}


def findings(told: dict[str, Any]) -> list[str]:
    """What a search shows, one sentence a line; the reason where it shows nothing."""
    return _law(told["law"], told["trials"]) if told["law"] else _weights(told["weights"], told["recipe"])


def _law(fitted: dict[str, Any], trials: list[dict[str, Any]]) -> list[str]:
    law = fitted["law"]
    if law is None:
        by_size = sorted(trials, key=lambda trial: trial["tokens"])
        first, last = by_size[0], by_size[-1]
        measured = (
            f"measured: {first['loss']:.4f} with {first['rows']:,} rows, {last['loss']:.4f} with {last['rows']:,}"
        )
        return [f"no law: {fitted['reason']}", measured]
    lines = [
        f"loss = {law['floor']:.4g} + {law['scale']:.4g} x tokens^-{law['exponent']:.3g}; 95 %: floor "
        f"{_interval(law['floor_interval'])}, exponent {_interval(law['exponent_interval'])}; "
        f"a run's noise {law['noise']:.2g} nats"
    ]
    largest = max(trial["tokens"] for trial in trials)
    for point in fitted["band"]:
        if point["n"] > largest * 1.01 and any(abs(point["n"] / largest - times) < 0.01 for times in (2, 4, 8)):
            lines.append(
                f"{point['n'] / largest:.0f} times the data: {point['loss']:.4f} ({_interval(point['interval'])}), "
                f"{point['gain']:.4f} lower ({_interval(point['gain_interval'])})"
            )
    return lines


def _weights(fitted: dict[str, Any], recipe: dict[str, Any] | None) -> list[str]:
    if fitted["reason"]:
        return [f"no best mix: {fitted['reason']}"]
    best, natural = fitted["best"], fitted["natural"]
    low, high = best["gain_interval"]
    proven = "" if low > 0 or high < 0 else "; not proven: the interval crosses 0"
    lines = [
        f"the mix as it is: {natural['loss']:.4f} ({_interval(natural['interval'])})",
        f"predicted best: {in_words(best['weights'])}: {best['loss']:.4f} ({_interval(best['interval'])}), "
        f"{best['gain']:.4f} lower ({_interval(best['gain_interval'])}){proven}",
        f"the weights explain {fitted['explained']:.0%} of what mixes left out reach",
    ]
    if recipe:
        lines.append(f"its rows at most: {', '.join(f'{name} {n:,}' for name, n in recipe['largest'].items())}")
        lines += [f"no recipe: {recipe['reason']}"] if recipe.get("reason") else []
    return lines


def _interval(ends: list[float]) -> str:
    return f"{ends[0]:.4g} to {ends[1]:.4g}"
