"""The commands that lay runs side by side, and that collect what a run answers badly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from studio.commands.performing import JSON, perform


@click.command("compare-runs")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN RUN...")
@click.option("--against", default="base", show_default=True, help="base, or the name of one of the runs")
@JSON
def compare_runs(runs: tuple[Path, ...], against: str, as_json: bool) -> None:
    """Runs side by side: losses, settings and data that differ, answers, and what rose and fell against the base."""
    from studio.runs import corpus_of
    from training.comparing_runs import compare_runs as verb

    perform(corpus_of(runs[0]), as_json, lambda progress: verb(runs, against=against), show_runs)


def show_runs(report: Any) -> None:
    """Tables: the runs, what differs, what rose and fell."""
    from studio.commands.printing import as_dict, print_table
    from training.judging.seesaw import by_chance

    told = as_dict(report)
    columns = ["name", "state", "steps", "rows", "tokens", "seconds", "train_loss", "held_out_before", "held_out"]
    print_table(told["runs"], columns)
    if told["settings"]:
        click.echo("\nsettings that differ")
        print_table([{"setting": s["name"], **_plain(s["values"])} for s in told["settings"]])
    click.echo("\nrows")
    print_table(data_rows(told))
    for name, changes in told["seesaw"].items():
        click.echo(f"\nwhat rose and fell: {name} against {told['against']}")
        print_table([change_row(change) for change in changes])
        for reason in dict.fromkeys(change["reason"] for change in changes if change["reason"]):
            click.echo(f"no interval: {reason}")
        chance = by_chance(report.seesaw[name])
        if chance:
            click.echo(chance)
    if told["answers"]:
        click.echo(f"\n{len(told['answers'])} prompts are answered by more than one; --json and the studio show them")
    for note in told["notes"]:
        click.echo(note)


def data_rows(told: dict[str, Any]) -> list[dict[str, Any]]:
    """One row per run: rows, how many only it has, and how many it shares with each other run."""
    names = [side["run"] for side in told["data"]]
    common = {(o[a], o[b]): o["common"] for o in told["overlaps"] for a, b in (("a", "b"), ("b", "a"))}
    return [
        {
            "run": side["run"],
            "rows": side["rows"],
            "only here": side["only_here"],
            **{f"also in {name}": common.get((side["run"], name)) for name in names if len(names) < 6},
            "by source": ", ".join(f"{source} {n:,}" for source, n in side["by_source"].items()),
        }
        for side in told["data"]
    ]


def group_name(kind: str, name: str) -> str:
    """What a group is called in tables and charts."""
    return name if kind in ("all", "source") else f"{kind}: {name}"


def change_row(change: dict[str, Any]) -> dict[str, Any]:
    """A line of the seesaw table."""
    low, high = change["low"], change["high"]
    return {
        "group": group_name(change["kind"], change["name"]),
        "metric": change["metric"],
        "examples": change["examples"],
        "before": change["before"],
        "after": change["after"],
        "change": f"{change['difference']:+.4f}",
        "95 % interval": None if low is None else f"{low:+.4f} to {high:+.4f}",
        "verdict": change["verdict"],
    }


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value if isinstance(value, int | float) else str(value) for name, value in values.items()}


@click.command("bad-cases")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--model", type=click.Choice(("trained", "base", "random")), default="trained", show_default=True)
@click.option("--embedding", help="Of the corpus, for the nearest samples; by wording if not given")
@click.option("--neighbours", type=click.IntRange(min=1), show_default="5", help="Samples for each case")
@click.option("--judge", metavar="SPEC", help="Chat model that looks for claims that the reference contradicts")
@click.option("--rule", "rules", multiple=True, metavar="RULE", help="With --select: only near the cases of this rule")
@click.option("--select", "selection", metavar="NAME", help="Store the nearest samples, and a recipe with more of them")
@click.option("--most", type=click.IntRange(min=1), default=100, show_default=True, help="Samples that are stored")
@click.option("--times", type=click.IntRange(min=2), default=3, show_default=True, help="How often the recipe has each")
@JSON
def bad_cases(
    run: Path,
    model: str,
    embedding: str | None,
    neighbours: int | None,
    judge: str | None,
    rules: tuple[str, ...],
    selection: str | None,
    most: int,
    times: int,
    as_json: bool,
) -> None:
    """What RUN answers badly, by rule, with the samples of its mix that are nearest; then more of those."""
    from dataclasses import asdict

    from curation.corpus import Corpus
    from curation.errors import CorpusError
    from studio.runs import corpus_of
    from training.judging.bad_cases import NEIGHBOURS, kept_bad_cases
    from training.judging.bad_cases import bad_cases as verb
    from training.judging.remedies import store_neighbours

    corpus = corpus_of(run)
    given: dict[str, Any] = {"model": model, "embedding": embedding, "judge": judge}

    def found(progress: Any) -> Any:
        near = neighbours or NEIGHBOURS
        return verb(run, corpus_folder=corpus, neighbours=near, progress=progress, **given)

    if selection is None:
        perform(corpus, as_json, found, show_cases)
        return
    if corpus is None:
        raise CorpusError(f"The run {run} lies in no corpus that could store a selection.", fix="leave --select out")
    chosen = Corpus(corpus)

    def stored(progress: Any) -> Any:
        # What has been found already is taken as it is: to judge again would cost, and could forget what a judge said.
        report = kept_bad_cases(run, neighbours=neighbours, **given) or asdict(found(progress))
        return store_neighbours(chosen, report, selection, rules=rules, most=most, times=times)

    perform(corpus, as_json, stored, show_remedy(corpus))


def show_cases(report: Any) -> None:
    """A table of the rules, and the first cases of each with their nearest samples."""
    from studio.commands.printing import as_dict, print_table, shortened

    told = as_dict(report)
    click.echo(
        f"{told['bad_answers']:,} of {told['answers']:,} answers break a rule; nearest samples by {told['space']}"
    )
    columns = ["rule", "cases", "base_cases", "checked", "meaning"]
    print_table(told["groups"], columns)
    for group in told["groups"]:
        for case in group["bad"][:2]:
            click.echo(f"\n{group['rule']}: {case['why']}")
            click.echo(f"  asked     {shortened(case['question'], 96)}")
            click.echo(f"  answered  {shortened(case['answer'], 96)}")
            for near in case["neighbours"][:2]:
                click.echo(f"  {near['similarity']:.2f}      {shortened(near['question'], 96)}")
    for group in told["groups"]:
        for reason, n in group["unknown"].items():
            click.echo(f"{group['rule']}: can't tell for {n:,}: {reason}")


def show_remedy(corpus: Path) -> Any:
    """Shows what was stored, and the commands that go on from it."""

    def show(remedy: Any) -> None:
        from studio.commands.printing import print_facts
        from studio.jobs import command_line

        near = f"{remedy.nearest:.2f} to {remedy.farthest:.2f}"
        print_facts(f"selection {remedy.selection}", {"samples": remedy.samples, "similarity": near})
        if remedy.recipe:
            click.echo(command_line(["export", str(corpus), remedy.recipe]))
        else:
            click.echo(f"no recipe: {remedy.reason}")
        click.echo(
            command_line(["synthesize", str(corpus), "evol-instruct", "--model", "SPEC", "--where", remedy.where])
        )

    return show
