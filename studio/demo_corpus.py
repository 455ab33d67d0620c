"""The demo corpus: 313 samples written for this project, with every planted defect labelled."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from curation.corpus import Corpus
from curation.progress import Progress, silent

DEMO = Path(__file__).parent / "demo"
REPLIES = DEMO / "replies.jsonl"
FILES = ("instructions_en", "instructions_zh", "conversations", "maths", "code", "preferences")
DEMO_SEED_SAMPLES = "json_extract_string(metadata, '$.seed_sample') IS NOT NULL"
"""The samples that the demo's chat endpoint has answers for."""

HELD_OUT = 30
"""Samples set aside for evaluation."""


@dataclass(frozen=True)
class DemoReport:
    """What the demo corpus holds."""

    folder: str
    samples: int
    held_out: int
    scored: tuple[str, ...]
    selections: tuple[str, ...]


def build_demo(folder: Path, progress: Progress = silent) -> DemoReport:
    """Ingest, hold out, score, embed and select: what a first look at the studio needs. Again changes nothing."""
    from curation.embedding import embed
    from curation.ingestion import ingest
    from curation.scorers.heuristics import Heuristics
    from curation.scorers.length import Length
    from curation.scorers.metadata import Metadata
    from curation.scoring import score
    from curation.selection import hold_out, select
    from curation.selectors import KCenter, Longest, Random, TopK

    corpus = Corpus.create(folder)
    progress(0, 6, "reading the demo files")
    ingest(corpus, [DEMO / f"{name}.jsonl" for name in FILES])
    hold_out(corpus, HELD_OUT)
    progress(1, 6, "scoring")
    for scorer in (Length(), Heuristics(), Metadata(field="quality")):
        score(corpus, scorer)
    progress(3, 6, "embedding")
    embed(corpus)
    progress(5, 6, "selecting")
    for selector in (Random(), Longest(), TopK(score="quality"), KCenter()):
        select(corpus, selector, 60, name=selector.name)
    progress(6, 6, "the demo corpus is ready")
    held = int(corpus.count("held_out"))
    scored = tuple(run.scorer for run in corpus.score_runs())
    return DemoReport(str(corpus.path), corpus.count(), held, scored, tuple(corpus.selections()))
