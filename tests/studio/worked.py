"""A small corpus on which every verb has run, made in a second: no page of it is empty."""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from functools import cache
from pathlib import Path

from curation.corpus import Corpus
from curation.embedding import embed
from curation.ingestion import ingest
from curation.mixing import build_mix, export
from curation.scorers.length import Length
from curation.scoring import score
from curation.selection import select
from curation.selectors import Longest, Random
from synthesis import Distill, synthesize
from tests.studio.pages import write_run


def worked(folder: Path) -> Corpus:
    """The corpus in `folder`/corpus; its samples are Chinese, so that English words in a row are the studio's own."""
    corpus = Corpus(shutil.copytree(_made_once(), folder / "corpus"))
    write_run(corpus, "first")
    return corpus


@cache
def _made_once() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="winnow-worked-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    rows = [{"instruction": f"介绍第{n}种茶。", "output": "这是一种香气很好的茶。" * (n + 1)} for n in range(24)]
    (folder / "tea.jsonl").write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    corpus = Corpus.create(folder / "corpus")
    ingest(corpus, [folder / "tea.jsonl"])
    score(corpus, Length())
    embed(corpus)
    select(corpus, Random(), 10, name="drawn")
    select(corpus, Longest(), 10, name="longest")
    replies = folder / "replies.jsonl"
    lines = [
        {"contains": ["第1种"], "reply": "龙井产自杭州。"},
        {"contains": ["第2种"], "reply": "抱歉，我无法回答这个问题。"},
    ]
    replies.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    synthesize(corpus, Distill(), f"replay:{replies}", where="instruction IN ('介绍第1种茶。', '介绍第2种茶。')")
    export(corpus, build_mix({"name": "best", "parts": [{"selection": "longest"}, {"selection": "drawn", "rows": 2}]}))
    return corpus.path
