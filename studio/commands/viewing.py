"""The command for views: pages of the studio with a filter, under a name."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlencode

import click

from studio.commands.performing import CORPUS, JSON, pairs


@click.command()
@CORPUS
@click.option("--save", metavar="NAME", help="Keep a view under this name")
@click.option("--page", default="browse", show_default=True, help="Of the studio, by its address")
@click.option("--where", metavar="SQL", help="Its filter")
@click.option("--set", "query", multiple=True, metavar="NAME=VALUE", help="What else stands in its address")
@click.option("--remove", metavar="NAME", help="Forget the view of this name")
@JSON
def views(
    corpus: Path,
    save: str | None,
    page: str,
    where: str | None,
    query: tuple[str, ...],
    remove: str | None,
    as_json: bool,
) -> None:
    """List the saved views of a corpus, which the studio opens by `?saved=NAME`; save or forget one."""
    from curation.corpus import Corpus
    from curation.views import View, remove_view, save_view
    from curation.views import views as stored
    from studio.commands.printing import print_json, print_table

    folder = Corpus(corpus).path
    if remove:
        remove_view(folder, remove)
    if save:
        save_view(folder, View(save, page, {**({"where": where} if where else {}), **pairs(query, "--set")}))
    found = stored(folder)
    if as_json:
        print_json({"views": [asdict(view) for view in found]})
        return
    print_table([{"name": v.name, "page": v.page, "address": f"/{v.page}?{urlencode(v.query)}"} for v in found])
