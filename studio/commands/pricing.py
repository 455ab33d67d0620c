"""The command for prices: what the tokens of a model cost, as the user's price list says."""

from __future__ import annotations

from pathlib import Path

import click

from curation.errors import OperatorError, unknown
from studio.commands.performing import CORPUS, JSON


@click.command()
@CORPUS
@click.argument("model", required=False, metavar="[MODEL[@HOST:PORT]]")
@click.option("--input", "input_usd", type=float, metavar="USD", help="For a million tokens sent")
@click.option("--output", "output_usd", type=float, metavar="USD", help="For a million tokens received, reasoning too")
@click.option("--cached-input", "cached_usd", type=float, metavar="USD", help="For input from the endpoint's cache")
@click.option("--since", metavar="DATE", help="First day on which it counts, such as 2026-01-31; today if not given")
@click.option("--note", default="", help="Where the price comes from")
@click.option("--remove", is_flag=True, help="Take the model out of the table")
@JSON
def price(
    corpus: Path,
    model: str | None,
    input_usd: float | None,
    output_usd: float | None,
    cached_usd: float | None,
    since: str | None,
    note: str,
    remove: bool,
    as_json: bool,
) -> None:
    """List what the tokens of models cost, or set it for MODEL; none is known until you set it."""
    from datetime import datetime

    from curation.corpus import Corpus
    from curation.language_models.prices import Price, Prices

    folder = Corpus(corpus).path
    table = Prices.read(folder)
    if model is None:
        _show(table, as_json)
        return
    if remove:
        if not any(row.model == model for row in table.rows):
            raise unknown("priced model", model, {row.model for row in table.rows})
        table = table.without(model)
    elif input_usd is None or output_usd is None:
        raise OperatorError(
            f"The price of {model} needs both --input and --output.",
            fix=f"winnow price {corpus} {model} --input 0.40 --output 1.60",
        )
    else:
        day = since if since is not None else datetime.now().astimezone().date().isoformat()
        table = table.having(Price(model, input_usd, output_usd, cached_usd, day, note))
    table.write(folder)
    _show(table, as_json)


def _show(table: object, as_json: bool) -> None:
    from curation.language_models.prices import Prices
    from studio.commands.printing import print_json, print_table

    assert isinstance(table, Prices)
    rows = [
        {
            "model": row.model,
            "input": row.input_usd,
            "cached_input": row.cached_input_usd,
            "output": row.output_usd,
            "since": row.since or None,
            "note": row.note,
        }
        for row in table.rows
    ]
    if as_json:
        print_json({"prices": rows})
    elif rows:
        print_table(rows)
    else:
        click.echo("no price is known; set one, per million tokens: winnow price CORPUS MODEL --input USD --output USD")
