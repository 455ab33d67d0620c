"""Titles of clusters: from the words that tell a cluster from the others, or from a chat model.

Source: class-based TF-IDF, Grootendorst 2022 (arXiv 2203.05794), equation 2: the weight of a word in a cluster is its
frequency there times log(1 + A / its frequency in all clusters), A being the average number of words of a cluster.

Differs from the source: a sample counts a word once, so that one long sample does not name its cluster; of Chinese,
which has no spaces, the words are runs of two to four characters.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl

from curation.language_models.asking import answers
from curation.language_models.models import ChatRequest

CHARS = 600
"""Of a text that are looked at: its topic is named early."""
WORDS = 3
"""In a title."""
EVERYWHERE = 0.15
"""A word in more than this share of all samples names nothing, unless most of them are of one cluster."""
LATIN = r"[\p{L}--\p{Han}][[\p{L}\p{M}'’]--\p{Han}]{2,}"
HAN = re.compile(r"[一-鿿]{2,}")
FUNCTION = frozenset(
    "的了是在和与及或我你他她它们这那个一不有为以之其也就都而对于中上下到从把被让给着过吗呢吧啊请将会能可要些什么怎"
)
"""Chinese characters that join words rather than name things: no title has one."""
_JOINING = (
    "about above after all also and any are been before being between both but can could did does each either for from "
    "get give given had has have her here him his how into its just like made make many may more most much must not "
    "now off one only other our out over own please same she should some such than that the their them then there "
    "these they this those through too two under until use used using very was way well were what when where whether "
    "which while who whose why will with would you your i'm i've i'll it's don't can't that's you're following"
)
JOINING = frozenset(_JOINING.split())
"""English words of the same kind, and those of which every request is full."""
PART_OF = 0.7
"""A run of characters that mostly stands inside a longer one of the title says nothing more."""
TEXTS, FEWEST_TEXTS = 40_000, 100
"""Texts that are read for the titles of all clusters together, and at least of each: of more a draw is as telling."""
SHOWN = 12
"""Samples of a cluster that a chat model is shown."""
ASKED = (
    "Below are {n} samples of one cluster of a data set for training language models, and words that are frequent in "
    "it. Name what they have in common in two to five words, in the language that most of them are written in. Answer "
    "with the name alone: no quotation marks, no full stop.\n\nWords: {words}\n\n{samples}"
)
LONGEST = 60
"""Characters of a title that a model gave."""


@dataclass(frozen=True)
class Title:
    """What a cluster is called."""

    text: str
    words: tuple[str, ...]
    """Those that tell it from the others, the most telling one first."""


def drawn(labels: np.ndarray, clusters: int, seed: int) -> np.ndarray:
    """Rows whose texts are read, ascending: all of a small cluster, and so many of a large one at random.

    Args:
        labels: the cluster of each sample, 0 to `clusters` - 1.
        clusters: how many.
        seed: of the draw.
    """
    most = max(FEWEST_TEXTS, TEXTS // max(clusters, 1))
    order = np.random.default_rng(seed).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    starts = np.searchsorted(labels[order], np.arange(clusters + 1))
    kept = np.concatenate([order[a : min(b, a + most)] for a, b in pairwise(starts)])
    return np.sort(kept)


def by_words(texts: pl.Series, labels: np.ndarray, clusters: int, sizes: np.ndarray | None = None) -> list[Title]:
    """A title for every cluster, of at most `WORDS` words.

    Args:
        texts: of the samples, or of those that were drawn.
        labels: the cluster of each, 0 to `clusters` - 1.
        clusters: how many.
        sizes: samples of each cluster, where not all of them have a text here.
    """
    here = np.bincount(labels, minlength=clusters)
    found = _weighed(
        _occurring(texts, labels, np.maximum(here if sizes is None else sizes, here) / np.maximum(here, 1))
    )
    titles = []
    for cluster in range(clusters):
        best = found.get(cluster, [])
        words = tuple(_distinct(best, 2 * WORDS))
        # Several scripts in one title would be a list of fragments: the most telling word's script decides.
        han = bool(words) and HAN.search(words[0]) is not None
        of_script = [word for word in words if (HAN.search(word) is not None) == han][:WORDS]
        titles.append(Title((" · " if han else ", ").join(of_script), words))
    return titles


def _occurring(texts: pl.Series, labels: np.ndarray, each: np.ndarray) -> pl.DataFrame:
    """cluster, word, n: in how many samples of the cluster a word occurs, where a text of it stands for so many."""
    frame = pl.DataFrame({"cluster": labels, "text": texts.fill_null("").str.slice(0, CHARS).str.to_lowercase()})
    latin = pl.col("text").str.extract_all(LATIN)
    chinese = pl.col("text").map_elements(_runs, return_dtype=pl.List(pl.String), skip_nulls=True)
    has_han = frame["text"].str.contains(r"\p{Han}")
    words = pl.concat(
        [
            frame.select("cluster", latin.list.unique().alias("word")),
            frame.filter(has_han).select("cluster", chinese.alias("word")),
        ]
    )
    counted = words.explode("word", empty_as_null=True).drop_nulls("word")
    stands_for = pl.DataFrame({"cluster": np.arange(len(each), dtype=labels.dtype), "each": each})
    grouped = (
        counted.group_by("cluster", "word")
        .agg(pl.len().alias("n"))
        .join(stands_for, on="cluster")
        .select("cluster", "word", pl.col("n") * pl.col("each"))
    )
    everywhere = max(3.0, EVERYWHERE * float(each[labels].sum()))
    total, most = pl.col("n").sum().over("word"), pl.col("n").max().over("word")
    telling = ~pl.col("word").is_in(list(JOINING)) & ((total <= everywhere) | (2 * most > total))
    return grouped.filter(telling)


def _runs(text: str) -> list[str]:
    """Every run of two to four Chinese characters, once."""
    found = set()
    for match in HAN.finditer(text):
        run = match.group()
        for length in (2, 3, 4):
            for start in range(len(run) - length + 1):
                part = run[start : start + length]
                if FUNCTION.isdisjoint(part):
                    found.add(part)
    return list(found)


def _weighed(counts: pl.DataFrame) -> dict[int, list[tuple[str, float]]]:
    """Cluster -> its words and their counts, the most telling one first."""
    if counts.is_empty():
        return {}
    average = counts["n"].sum() / counts["cluster"].n_unique()
    weight = pl.col("n") * (1 + average / pl.col("n").sum().over("word")).log()
    best = (
        counts.with_columns(weight.alias("weight"))
        .sort(["cluster", "weight", "word"], descending=[False, True, False])
        .group_by("cluster", maintain_order=True)
        .head(8 * WORDS)
    )
    found: dict[int, list[tuple[str, float]]] = {}
    for cluster, word, n in best.select("cluster", "word", "n").iter_rows():
        found.setdefault(cluster, []).append((word, n))
    return found


def _distinct(best: Sequence[tuple[str, float]], most: int) -> list[str]:
    """The first words, none of which is part of another one or the same in another number."""
    words: list[str] = []
    for word, n in best:
        longer = [other for other, m in best if word in other and word != other and m >= PART_OF * n]
        if longer and HAN.search(word):
            continue
        if not any(_stem(word) in _stem(known) or _stem(known) in _stem(word) for known in words):
            words.append(word)
        if len(words) == most:
            break
    return words


def _stem(word: str) -> str:
    if HAN.search(word):
        return word
    return re.sub(r"(['’]s|ies|es|s|ing|ed|e|y)$", "", word) if len(word) > 4 else word


def by_model(
    spec: str, samples: Sequence[Sequence[str]], titles: Sequence[Title], *, calls: Path | None
) -> tuple[list[Title], int]:
    """Titles that a chat model gives, and how many it failed to give: those keep the title of their words.

    Args:
        spec: who is asked.
        samples: of each cluster some texts.
        titles: of each cluster, from its words.
        calls: the corpus' `calls.sqlite`; an answer that is there is not asked for again.
    """
    requests = [
        ChatRequest((("user", _question(texts, title)),), {"temperature": 0, "max_tokens": 40})
        for texts, title in zip(samples, titles, strict=True)
    ]
    replies = answers(spec, requests, calls=calls, run="map-titles")
    named, failed = [], 0
    for reply, title in zip(replies, titles, strict=True):
        text = next((line.strip() for line in (reply.text or "").splitlines() if line.strip()), "").strip("\"'“”。.*# ")
        failed += not text
        named.append(Title(text[:LONGEST], title.words) if text else title)
    return named, failed


def _question(texts: Sequence[str], title: Title) -> str:
    shown = "\n".join(f"- {' '.join(text.split())[:300]}" for text in texts[:SHOWN])
    return ASKED.format(n=len(texts[:SHOWN]), words=", ".join(title.words), samples=shown)
