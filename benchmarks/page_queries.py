"""How long the studio's pages wait for the database: `python -m benchmarks.page_queries CORPUS`.

Each row of the table is what a page asks for after one click, over random filters, orders and page numbers: median and
95th percentile. The corpus needs the scores of `length`. The first time of everything is in the 95th percentile.
"""

from __future__ import annotations

import os
import random
import statistics
import sys
import time
from collections.abc import Callable

from curation.corpus import Corpus
from studio.pages.browse import both, order_by, page_of, search_condition

TIMES = 30
COMMON = (
    "the and people would write about with from what which name good make year first company information system data "
    "example answer question following sentence because between should provide important different language"
)
PAGES = ("overview", "browse", "score", "clean", "select", "history")


def word(corpus: Corpus, rng: random.Random, kind: str) -> str:
    """Something to search for that was not searched for before."""
    if kind == "common":
        return rng.choice(COMMON.split()) + " " * rng.randrange(2) + rng.choice(["", "t", "a", "i", "s"])
    if kind == "no hit":
        return "".join(rng.choice("qxzjvw") for _ in range(7))
    if kind == "Chinese":
        return chr(rng.randrange(0x4E00, 0x9FA5)) + rng.choice(["", "的", "国"])
    while True:
        texts = corpus.frame(["instruction"], where=f"position = {rng.randrange(1, corpus.count())}")["instruction"]
        long = [w for w in " ".join(texts).split() if len(w) > 8]
        if long:
            return rng.choice(long)


def filters(rng: random.Random) -> str:
    """A filter somebody might click or type."""
    chars = rng.randrange(20, 2000)
    return rng.choice(
        [
            f"source = '{rng.choice(['alpaca', 't0', 'alpaca_eval'])}'",
            f"length > {chars}",
            f"length_response_tokens BETWEEN {chars} AND {2 * chars}",
            f"response_chars < {chars} AND script = 'Latin'",
            "list_contains(tags, 'reviewed')",
            f"decision = 'drop' AND length > {chars}",
            f"NOT held_out AND length_tokens < {chars}",
            f"tags IS NULL AND turns = 2 AND length >= {chars}",
        ]
    )


def orders(rng: random.Random) -> str | None:
    """An order of the Browse page."""
    column = rng.choice(["length", "length_response_tokens", "response_chars", "source", "position", "id"])
    return order_by(column, rng.random() < 0.5)


def browse(corpus: Corpus, where: str | None, order: str | None, number: int = 1, search: str | None = None) -> None:
    """What the Browse page asks for."""
    corpus.count()
    corpus.count(where)
    where = both(where, corpus.found(search_condition(search))) if search else where
    matching = corpus.count(where)
    pages = max(1, -(-matching // 50))
    page_of(corpus, ["length", "length_tokens"], where, order, min(number, pages))


def clicks(corpus: Corpus, rng: random.Random) -> dict[str, Callable[[int], object]]:
    """What is measured: name -> the n-th click."""
    where, ids = filters(rng), corpus.frame(["id"], order="id", limit=50)["id"]
    chosen = [(filters(rng), orders(rng)) for _ in range(5)]
    measured: dict[str, Callable[[int], object]] = {
        "open": lambda _: browse(corpus, None, None),
        "filter": lambda _: browse(corpus, filters(rng), None),
        "sort": lambda _: browse(corpus, None, orders(rng)),
        "filter and sort": lambda _: browse(corpus, filters(rng), orders(rng)),
        "page turn": lambda _: browse(corpus, None, None, rng.randrange(1, 20_000)),
        "page turn, filtered": lambda n: browse(corpus, where, None, n + 2),
        "page turn, sorted": lambda n: browse(corpus, *chosen[n % 5], rng.randrange(1, 200)),
    }
    for kind in ("common", "rare", "Chinese", "no hit"):
        words = [word(corpus, rng, kind) for _ in range(200)]
        measured[f"search, {kind}"] = lambda n, words=words: browse(corpus, None, None, 1, words[n])  # type: ignore[misc]
    measured["page turn, searched"] = lambda n: browse(corpus, None, None, n + 1, "photosynthesis")
    measured["filter what was found"] = lambda n: browse(corpus, filters(rng), orders(rng), 1, COMMON.split()[n % 5])
    measured["read a sample"] = lambda n: corpus.sample(ids[n % len(ids)])
    return measured


def main(path: str, times: int = TIMES) -> None:
    """Measure and print."""
    corpus = Corpus(path)
    corpus.database.hold()
    rng = random.Random(7)
    print(f"  {corpus.count():,} samples; milliseconds", flush=True)
    print(f"  {'':<24} {'median':>8} {'95 %':>8} {'first':>8} {'core ms':>8}")
    for name, click in clicks(corpus, rng).items():
        seconds, cores = [], time.process_time()
        for n in range(times):
            begun = time.perf_counter()
            click(n)
            seconds.append(time.perf_counter() - begun)
        cores = (time.process_time() - cores) / times
        low, high = statistics.median(seconds), sorted(seconds)[int(0.95 * (times - 1))]
        print(f"  {name:<24} {low * 1e3:8.0f} {high * 1e3:8.0f} {seconds[0] * 1e3:8.0f} {cores * 1e3:8.0f}", flush=True)
    corpus.database.release()
    pages(path)


def pages(path: str) -> None:
    """Whole pages without a browser: the first time in this process, and again."""
    from streamlit.testing.v1 import AppTest

    os.environ["WINNOW_CORPUS"] = path
    print(f"  {'page':<24} {'first':>8} {'again':>8}")
    for name in PAGES:
        app = AppTest.from_string(f"from studio.pages import {name}\n{name}.page()", default_timeout=60)
        seconds = []
        for _ in range(2):
            begun = time.perf_counter()
            app.run()
            seconds.append(time.perf_counter() - begun)
        print(f"  {name:<24} {seconds[0] * 1e3:8.0f} {seconds[1] * 1e3:8.0f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
