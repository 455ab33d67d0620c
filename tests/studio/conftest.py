"""A corpus on which every verb has run once, and its pages."""

from __future__ import annotations

import json
import shutil

import pytest

from curation.corpus import Corpus
from curation.ingestion import ingest
from curation.mixing import build_mix, export
from curation.scorers.length import Length
from curation.scorers.metadata import Metadata
from curation.scoring import score
from curation.selection import select
from curation.selectors import Longest, Random
from synthesis import Distill, synthesize
from tests.studio.pages import opener, write_run

ROWS = [
    {"instruction": f"What is {n} plus {n}?", "output": "It is " + "certainly " * n + f"{2 * n}.", "index": n}
    for n in range(30)
]
CHINESE = [
    {"instruction": f"介绍第{n}种茶。", "output": "这是一种香气很好的茶。" * (n + 1), "index": 100 + n}
    for n in range(10)
]


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """The folder of a corpus on which every verb but training has run once, to be copied."""
    folder = tmp_path_factory.mktemp("made")
    for name, rows in (("sums", ROWS), ("tea", CHINESE)):
        (folder / f"{name}.jsonl").write_text("\n".join(json.dumps(r) for r in rows), encoding="utf-8")
    corpus = Corpus.create(folder / "corpus")
    ingest(corpus, [folder / "sums.jsonl", folder / "tea.jsonl"])
    score(corpus, Length())
    score(corpus, Metadata(field="index"), where="source = 'sums'")
    select(corpus, Random(), 10, name="drawn")
    select(corpus, Longest(), 10, name="longest")
    replies = folder / "replies.jsonl"
    lines = [
        {"contains": ["第1种"], "reply": "龙井产自杭州。"},
        {"contains": ["第2种"], "reply": "I'm sorry, but I can't help with that."},
    ]
    replies.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    synthesize(corpus, Distill(), f"replay:{replies}", where="instruction LIKE '%第1种%' OR instruction LIKE '%第2种%'")
    export(corpus, build_mix({"name": "best", "parts": [{"selection": "longest"}, {"selection": "drawn", "rows": 2}]}))
    return corpus.path


@pytest.fixture(scope="module")
def corpus(made_once, tmp_path_factory):
    """A corpus on which every verb has run once; the training run is written by hand."""
    corpus = Corpus(shutil.copytree(made_once, tmp_path_factory.mktemp("studio") / "corpus"))
    write_run(corpus, "first")
    return corpus


@pytest.fixture
def open_page(corpus, monkeypatch):
    return opener(monkeypatch, corpus.path)
