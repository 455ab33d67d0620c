"""How the command shows selections side by side: tables for people, one object for programs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from curation.errors import unknown
from studio.commands.printing import print_table, shortened, shown

if TYPE_CHECKING:
    from curation.comparing import Comparison

MARKS = {"above": "+", "below": "-", "inside": "="}
BASELINES = {"random": "random draws", "longest": "longest answers"}
POOL = "pool"
TAKEN = {*BASELINES.values(), POOL, "metric", "score", "tag"}
"""What other columns of the tables are called, in small letters."""


def checked_reference(reference: str, names: Sequence[str]) -> None:
    """Hold `--reference` to what is compared.

    Raises:
        OperatorError: it is neither a baseline nor one of the selections.
    """
    known = dict.fromkeys([*BASELINES, *names])
    if reference not in known:
        raise unknown("reference", reference, known)


def comparison_json(compared: Comparison, reference: str) -> dict[str, Any]:
    """Every table as a list of rows, and on what diversity was measured."""
    tables = {f.name: getattr(compared, f.name) for f in dataclasses.fields(compared) if f.name != "matched"}
    found = {name: frame.to_dicts() for name, frame in tables.items()}
    for row in found["diversity"]:
        row["mark"] = _mark(compared, row, reference)
    return {**found, "matched": dataclasses.asdict(compared.matched), "reference": reference}


def show_comparison(compared: Comparison, reference: str) -> None:
    """Print it."""
    _section("sizes", compared.sizes.to_dicts())
    click.echo(measured_on(compared))
    _section(f"diversity (+ above {_called(reference)}, - below, = within)", diversity_rows(compared, reference))
    _reasons(compared)
    _section("score means", score_rows(compared))
    _section("sources, share of samples", _wide(compared.sources.to_dicts(), "source", "share"))
    _section("tags, share of samples", _wide(compared.tags.to_dicts(), "tag", "share"))
    _section("overlap", compared.overlap.to_dicts())
    _section("taken by one, left by another", _examples(compared))


def measured_on(compared: Comparison) -> str:
    """One line: how many samples of each were measured, and beside what."""
    m = compared.matched
    of_each = f"{m.size:,} best samples of each" if m.measured == m.size else f"{m.measured:,} of the {m.size:,} best"
    pool = f"the pool of {m.pool:,}" + (f" where {m.where}" if m.where else "")
    if not m.draws:
        return f"Diversity of {of_each}; {pool} is smaller, so that nothing random stands beside it."
    return f"Diversity of {of_each}, beside {m.draws} random draws of as many from {pool} and its longest answers."


def diversity_rows(compared: Comparison, reference: str) -> list[dict[str, Any]]:
    """One row per metric: each selection with its mark, the band of the random draws, the longest answers."""
    rows: dict[str, dict[str, Any]] = {}
    for row in compared.diversity.iter_rows(named=True):
        told = rows.setdefault(row["metric"], {"metric": row["metric"]})
        name = label(row)
        if row["name"] == "random" and row["kind"] == "baseline":
            told[name] = "-" if row["low"] is None else f"{shown(row['low'])} .. {shown(row['high'])}"
        else:
            told[name] = f"{shown(row['value'])} {_mark(compared, row, reference) or ''}".strip()
    return list(rows.values())


def score_rows(compared: Comparison) -> list[dict[str, Any]]:
    """One row per score: its mean in the pool, in every selection and in the baselines."""
    rows: dict[str, dict[str, Any]] = {}
    for row in compared.spreads.sort("kind", maintain_order=True, descending=True).iter_rows(named=True):
        rows.setdefault(row["column"], {"score": row["column"]})[label(row)] = row["mean"]
    return list(rows.values())


def label(row: dict[str, Any]) -> str:
    """What a selection, a baseline or the pool (`name` and `kind`) is called in tables and charts, each differently."""
    if row["kind"] == "baseline":
        return BASELINES[row["name"]]
    name = str(row["name"])
    return f"{name} (selection)" if row["kind"] == "selection" and name.lower() in TAKEN else name


def _called(reference: str) -> str:
    return BASELINES.get(reference, reference)


def _mark(compared: Comparison, row: dict[str, Any], reference: str) -> str | None:
    if row["value"] is None or (row["name"] == reference and row["kind"] == "baseline"):
        return None
    if reference == "random":
        return MARKS.get(row["place"])
    against = compared.diversity.filter(name=reference, metric=row["metric"])["value"]
    if against.is_empty() or against[0] is None or row["name"] == reference:
        return None
    return "=" if row["value"] == against[0] else "+" if row["value"] > against[0] else "-"


def _reasons(compared: Comparison) -> None:
    missing = compared.diversity.filter(kind="selection").drop_nulls("reason")
    for reason, metrics in missing.group_by("reason", maintain_order=True).agg("metric").iter_rows():
        click.echo(f"not measured: {', '.join(dict.fromkeys(metrics))}: {reason}")


def _wide(rows: list[dict[str, Any]], key: str, value: str) -> list[dict[str, Any]]:
    wide: dict[str, dict[str, Any]] = {}
    columns = dict.fromkeys(label(row) for row in rows)
    for row in rows:
        wide.setdefault(row[key], {key: row[key], **columns})[label(row)] = row[value]
    return list(wide.values())


def _examples(compared: Comparison) -> list[dict[str, Any]]:
    return [
        {
            "taken by": row["taker"],
            "left by": row["leaver"],
            "rank": row["rank"],
            "why": shortened(row["reason"], 50),
            "instruction": shortened(row["instruction"] or "", 50),
        }
        for row in compared.examples.iter_rows(named=True)
    ]


def _section(title: str, rows: list[dict[str, Any]]) -> None:
    if rows:
        click.echo(f"\n{title}")
        print_table(rows)
