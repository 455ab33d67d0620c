"""How long the studio's pages wait for the database: `python -m benchmarks.studio CORPUS`.

Each row of the table is what a page asks for after one click, over random filters, orders and page numbers: median and
95th percentile. The corpus needs the scores of `length`. The first time of everything is in the 95th percentile.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Callable

from curation.corpus import Corpus
from studio.pages.browse import both, order_by, page_of, search_condition

TIMES = 30
SEARCHES = {
    "search, common word": ["the", "people", "Write", "would"],
    "search, rare word": ["photosynthesis", "Reykjavik", "quasar", "zeugma"],
    "search, Chinese": ["中", "机器学习", "你好"],
    "search, no hit": ["zzqqj", "xylofoon", "没有这个词吗"],
}


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
    for name, texts in SEARCHES.items():
        measured[name] = lambda n, texts=texts: browse(corpus, None, None, 1, texts[n % len(texts)])  # type: ignore[misc]
    measured["page turn, searched"] = lambda n: browse(corpus, None, None, n + 1, "photosynthesis")
    measured["search and filter"] = lambda n: browse(corpus, filters(rng), orders(rng), 1, ["water", "photon"][n % 2])
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


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
