"""What is known of held-out rows beside their text: metadata (expected answers, tests), tags, and scores.

Rows of a mix hold what a trainer needs; the rest stays in the corpus, and is kept in `RUN/held_out_facts.jsonl` when
the run is judged. Rows of `eval.jsonl` that a user wrote may carry the keys `metadata`, `tags` and `scores` themselves.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from training.data.mix_folder import MixFolder
from training.judging.answers import replace_lines
from training.runs.run_folder import RunFolder

FILE = "held_out_facts.jsonl"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one row."""

    id: str
    metadata: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, list[str]] = field(default_factory=dict)
    """Kind of tags (`tags` for a user's own, `instag`) -> the row's tags."""
    scores: dict[str, float] = field(default_factory=dict)
    """Column -> value; what was not measured is left out."""


def keep_facts(run: RunFolder, mix: MixFolder, corpus_folder: Path | None) -> None:
    """Write what the corpus knows of the held-out rows; without a corpus what was kept before stays."""
    if corpus_folder is None or not mix.has("eval"):
        return
    ids = [example.id for example in mix.examples("eval")]
    replace_lines(run.path / FILE, [asdict(facts) for facts in of_corpus(corpus_folder, ids)])


def of_corpus(folder: Path, ids: Sequence[str]) -> Iterator[Facts]:
    """What the corpus in this folder knows of these samples, in its own order; of those it does not have, nothing."""
    import polars as pl

    from curation.corpus import Corpus

    corpus = Corpus(folder)
    kinds = corpus.columns()
    lists = [name for name in kinds if name in _tag_columns(corpus)]
    numbers = [name for name in _main_columns(corpus) if kinds.get(name) in ("DOUBLE", "BIGINT", "INTEGER", "FLOAT")]
    names = ", ".join(f'everything."{name}"' for name in ("id", "metadata", *lists, *numbers))
    wanted = pl.DataFrame({"id": list(ids)}, schema={"id": pl.String})
    frame = corpus.database.run(f"SELECT {names} FROM everything JOIN wanted USING (id)", frames={"wanted": wanted})
    for row in frame.iter_rows(named=True):
        yield Facts(
            row["id"],
            json.loads(row["metadata"] or "{}"),
            {name: list(row[name]) for name in lists if row[name]},
            {name: float(row[name]) for name in numbers if row[name] is not None and math.isfinite(row[name])},
        )


def _tag_columns(corpus: Any) -> list[str]:
    return [name for name, kind in corpus.columns().items() if kind == "VARCHAR[]" and name not in ("parents",)]


def _main_columns(corpus: Any) -> list[str]:
    """The first column of every scorer: what it is about; the others are details."""
    return list(dict.fromkeys(run.columns[0] for run in corpus.score_runs() if run.columns))


def read_facts(run_dir: Path, mix: MixFolder) -> dict[str, Facts]:
    """Facts by row id: what the run keeps, and what the rows of eval.jsonl say of themselves, which comes first."""
    found: dict[str, Facts] = {}
    for row in (*_rows(run_dir / FILE), *_rows(mix.path / "eval.jsonl")):
        if not any(row.get(key) for key in ("metadata", "tags", "scores")):
            continue
        before = found.get(row["id"], Facts(row["id"]))
        found[before.id] = Facts(
            before.id,
            {**before.metadata, **_mapping(row.get("metadata"))},
            {**before.tags, **_tags(row.get("tags"))},
            {**before.scores, **_numbers(row.get("scores"))},
        )
    return found


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        return
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            row = json.loads(line) if line.strip() else None
            if isinstance(row, dict):
                yield {**row, "id": str(row.get("id") or f"{path.name}:{number}")}  # as the mix names it


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _numbers(value: Any) -> dict[str, float]:
    """Scores that are finite numbers; others measure nothing."""
    return {
        str(name): score
        for name, score in _mapping(value).items()
        if isinstance(score, int | float) and not isinstance(score, bool) and math.isfinite(score)
    }


def _tags(value: Any) -> dict[str, list[str]]:
    if isinstance(value, list):
        return {"tags": [str(tag) for tag in value]}
    return {str(kind): [str(tag) for tag in tags] for kind, tags in _mapping(value).items()}
