"""Mixing: chosen samples become the files a trainer reads, with a manifest that says where every row came from.

MIX/train.jsonl     the mix
MIX/eval.jsonl      held-out samples, none of them in train.jsonl
MIX/random.jsonl    random samples of the same pool in random order, a little more text than train.jsonl
MIX/manifest.json   operators, parameters, models, counts by source, SHA-256
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from curation.corpus import SAMPLE_COLUMNS, Corpus
from curation.errors import CorpusError, unknown
from curation.formats import FORMATS
from curation.operators import translated
from curation.progress import Progress, silent
from curation.sample import from_row

EVAL_ROWS = 200
"""Samples to evaluate on where none are held out."""

RANDOM_MARGIN = 1.3
"""Text in random.jsonl per text in train.jsonl: the trainer cuts it to the token with its own tokenizer."""


class Part(BaseModel):
    """Where samples of a mix come from, and how many."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    selection: str | None = Field(None, description="A stored selection; its best samples come first")
    where: str | None = Field(None, description="Or a SQL condition; samples come in an order drawn by the seed")
    rows: int | None = Field(None, ge=1, description="Exactly so many samples")
    weight: float | None = Field(None, gt=0, description="Or a share, relative to the other parts' weights")

    @model_validator(mode="after")
    def _one_source(self) -> Part:
        if (self.selection is None) == (self.where is None):
            raise ValueError("a part is either a selection or a condition")
        if self.rows is not None and self.weight is not None:
            raise ValueError("a part has rows or a weight, not both")
        return self


class Mix(BaseModel):
    """A recipe: equal recipe and equal corpus give equal bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, description="What to call it")
    parts: tuple[Part, ...] = Field(min_length=1, description="Where the samples come from")
    format: str = Field("messages", description="messages, prompt-completion, alpaca, sharegpt or preference")
    seed: int = Field(0, description="Of the order of rows and of the random samples")


@dataclass(frozen=True)
class ExportReport:
    """The files that were written."""

    name: str
    folder: str
    rows: int
    sha256: str
    """Of train.jsonl."""
    by_source: dict[str, int]
    eval_rows: int
    random_rows: int
    skipped: dict[str, int]
    """Reason -> samples of the parts that the format can't hold."""
    notes: tuple[str, ...]


def load_mix(path: Path) -> Mix:
    """A recipe from its JSON file.

    Raises:
        CorpusError: the file is missing or is no JSON.
        OperatorError: a field is wrong.
    """
    try:
        fields = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CorpusError(
            f"The mix {path} can't be read: {error}.", fix="give a JSON file with name and parts"
        ) from None
    return build_mix(fields)


def build_mix(fields: Mapping[str, Any]) -> Mix:
    """A recipe from its fields.

    Raises:
        OperatorError: a field is wrong.
    """
    try:
        return Mix(**fields)
    except ValidationError as error:
        raise translated("mix", error, Mix.model_fields) from None


def export(corpus: Corpus, mix: Mix, folder: Path | None = None, *, progress: Progress = silent) -> ExportReport:
    """Write a mix; into `mixes/NAME` of the corpus when no folder is given.

    Raises:
        CorpusError: a selection is missing, a part has fewer samples than it should give, or nothing fits the format.
    """
    if mix.format not in FORMATS:
        raise unknown("format", mix.format, FORMATS, CorpusError)
    folder = folder or corpus.path / "mixes" / mix.name
    folder.mkdir(parents=True, exist_ok=True)
    progress(0, 4, "choosing the rows")
    ids, given = _chosen(corpus, mix)
    written = _Files(corpus, folder, FORMATS[mix.format])
    train = written.write("train", shuffled(ids, mix.seed))
    if not train.rows:
        reasons = "; ".join(f"{reason}: {n:,}" for reason, n in train.skipped.items()) or "the parts are empty"
        raise CorpusError(
            f"No sample of the mix fits the format {mix.format!r} ({reasons}).", fix="choose another --format"
        )
    progress(1, 4, f"train.jsonl: {train.rows:,} rows")
    held, note = _evaluation(corpus, ids, mix.seed)
    evaluation = written.write("eval", held)
    progress(2, 4, f"eval.jsonl: {evaluation.rows:,} rows")
    others = _random(corpus, mix, set(held))
    baseline = written.write("random", others, enough_characters=int(train.characters * RANDOM_MARGIN))
    progress(3, 4, f"random.jsonl: {baseline.rows:,} rows")
    notes = tuple(n for n in (note, _random_note(train, baseline)) if n)
    manifest = {
        "name": mix.name,
        "format": mix.format,
        "seed": mix.seed,
        "mix": mix.model_dump(mode="json"),
        "parts": given,
        "by_source": train.by_source,
        "skipped": train.skipped,
        "tokens": _tokens(corpus, ids),
        "scores": [json.loads(run.operator) | {"model": run.model} for run in corpus.score_runs()],
        "files": {
            f.name: {"rows": f.rows, "characters": f.characters, "sha256": f.sha256}
            for f in (train, evaluation, baseline)
        },
        "notes": notes,
    }
    text = json.dumps(manifest, ensure_ascii=False, indent=2, sort_keys=True)
    _replace(folder / "manifest.json", [text.encode() + b"\n"])
    corpus.save_mix(mix.name, text)
    progress(4, 4, f"{mix.name}: {train.rows:,} rows")
    return ExportReport(
        mix.name,
        str(folder),
        train.rows,
        train.sha256,
        train.by_source,
        evaluation.rows,
        baseline.rows,
        train.skipped,
        notes,
    )


def shuffled(ids: Iterable[str], seed: int) -> list[str]:
    """Ids in an order that depends on the seed and on nothing else: not on how they came."""
    return sorted(ids, key=lambda i: hashlib.sha256(f"{seed}/{i}".encode()).digest())


def _chosen(corpus: Corpus, mix: Mix) -> tuple[list[str], list[dict[str, Any]]]:
    held = set(corpus.query("SELECT id FROM held_out")["id"])
    pools = [_part_ids(corpus, part, mix.seed, held) for part in mix.parts]
    taken: dict[str, None] = {}
    rows = [0] * len(mix.parts)
    for place, part in enumerate(mix.parts):
        if part.weight is not None:
            continue
        fresh = [i for i in pools[place] if i not in taken]
        if part.rows is not None and len(fresh) < part.rows:
            raise CorpusError(
                f"{part.rows:,} are asked for of {part.selection or part.where!r}, which has {len(fresh):,} left.",
                fix=f"ask for at most {len(fresh)} rows",
            )
        rows[place] = len(fresh) if part.rows is None else part.rows
        taken.update(dict.fromkeys(fresh[: rows[place]]))
    for place, ids in _weighted(mix.parts, pools, set(taken)).items():
        rows[place] = len(ids)
        taken.update(dict.fromkeys(ids))
    given = [
        {"rows": count, "available": len(pool), **_described(corpus, part)}
        for part, pool, count in zip(mix.parts, pools, rows, strict=True)
    ]
    return list(taken), given


def _weighted(parts: Sequence[Part], pools: Sequence[Sequence[str]], taken: set[str]) -> dict[int, list[str]]:
    """Place of each weighted part -> its samples; they grow together until the first is used up."""
    fresh: dict[int, list[str]] = {}
    for place, part in enumerate(parts):
        if part.weight is not None:
            fresh[place] = [i for i in pools[place] if i not in taken]
            taken.update(fresh[place])
    weights = {place: parts[place].weight or 0.0 for place in fresh}
    unit = min((len(ids) / weights[place] for place, ids in fresh.items()), default=0.0)
    return {place: ids[: round(unit * weights[place])] for place, ids in fresh.items()}


def _part_ids(corpus: Corpus, part: Part, seed: int, held: set[str]) -> list[str]:
    if part.selection is not None:
        ids = corpus.selection(part.selection).ids
    else:
        ids = shuffled(corpus.frame(["id"], where=part.where)["id"].to_list(), seed)
    return [i for i in ids if i not in held]


def _described(corpus: Corpus, part: Part) -> dict[str, Any]:
    if part.selection is None:
        return {"where": part.where}
    saved = corpus.selection(part.selection)
    return {
        "selection": saved.name,
        "operator": saved.operator,
        "budget": saved.budget,
        "working_set": saved.working_set,
    }


def _evaluation(corpus: Corpus, taken: Sequence[str], seed: int) -> tuple[list[str], str | None]:
    held = corpus.query("SELECT id FROM held_out")["id"].to_list()
    if held:
        return shuffled(held, 0), None
    inside = set(taken)
    rest = [i for i in shuffled(corpus.frame(["id"])["id"].to_list(), 0) if i not in inside]
    chosen = rest[:EVAL_ROWS]
    advice = f"set some aside before selecting: winnow hold-out {corpus.path} {EVAL_ROWS}"
    if not chosen:
        return [], f"eval.jsonl is empty, as the mix took every sample; {advice}"
    return (
        chosen,
        f"eval.jsonl has {len(chosen)} samples that the mix left, which is not the same as held out; {advice}",
    )


def _random(corpus: Corpus, mix: Mix, without: set[str]) -> list[str]:
    conditions = {corpus.selection(p.selection).working_set if p.selection else p.where for p in mix.parts}
    where = " OR ".join(f"({c}\n)" for c in sorted(c for c in conditions if c)) if None not in conditions else None
    pool = corpus.frame(["id"], where=where)["id"].to_list()
    return [i for i in shuffled(pool, mix.seed + 1) if i not in without]


def _random_note(train: _Written, baseline: _Written) -> str | None:
    if baseline.characters >= train.characters:
        return None
    size = f"{baseline.characters:,} characters where train.jsonl has {train.characters:,}"
    return f"random.jsonl has only {size}: the pool has no more"


def _tokens(corpus: Corpus, ids: Sequence[str]) -> dict[str, Any]:
    if "length_tokens" not in corpus.score_columns():
        return {"train": None, "reason": f"not counted; winnow score {corpus.path} length"}
    frame = pl.DataFrame({"id": list(ids)}, schema={"id": pl.String})
    counted = corpus.database.run(
        "SELECT sum(length_tokens)::BIGINT AS n, count(*) - count(length_tokens) AS missing "
        "FROM wanted LEFT JOIN scores USING (id)",
        frames={"wanted": frame},
    ).row(0)
    if counted[1]:
        return {"train": None, "reason": f"{counted[1]} samples are not counted; winnow score {corpus.path} length"}
    return {"train": counted[0], "by": "the scorer length"}


@dataclass(frozen=True)
class _Written:
    name: str
    rows: int
    characters: int
    sha256: str
    by_source: dict[str, int]
    skipped: dict[str, int]


@dataclass(frozen=True)
class _Files:
    """Writes one file after another in one format."""

    corpus: Corpus
    folder: Path
    format: Callable[..., dict[str, Any] | str]

    def write(self, name: str, ids: Sequence[str], enough_characters: int | None = None) -> _Written:
        sources: Counter[str] = Counter()
        skipped: Counter[str] = Counter()
        characters = 0
        lines: list[bytes] = []
        for start in range(0, len(ids), 10_000):
            for sample_id, sample in self._samples(ids[start : start + 10_000]):
                row = self.format(sample)
                if isinstance(row, str):
                    skipped[row] += 1
                    continue
                lines.append(json_line({"id": sample_id, **row, "source": sample.source}))
                sources[sample.source] += 1
                characters += len(sample.instruction) + len(sample.response)
                if enough_characters is not None and characters >= enough_characters:
                    break
            if enough_characters is not None and characters >= enough_characters:
                break
        digest = _replace(self.folder / f"{name}.jsonl", lines)
        return _Written(name, len(lines), characters, digest, dict(sorted(sources.items())), dict(skipped))

    def _samples(self, ids: Sequence[str]) -> Iterable[tuple[str, Any]]:
        wanted = pl.DataFrame({"id": list(ids)}, schema={"id": pl.String}).with_row_index("place")
        columns = ", ".join(f'everything."{c}"' for c in SAMPLE_COLUMNS)
        frame = self.corpus.database.run(
            f"SELECT {columns} FROM everything JOIN wanted USING (id) ORDER BY place", frames={"wanted": wanted}
        )
        for row in frame.iter_rows(named=True):
            yield row["id"], from_row(row)


def json_line(row: Mapping[str, Any]) -> bytes:
    """A row as one line of JSON in UTF-8."""
    try:
        return orjson.dumps(row) + b"\n"
    except (orjson.JSONEncodeError, TypeError):  # a lone surrogate: only ASCII escapes can say it
        return json.dumps(row).encode() + b"\n"


def _replace(path: Path, lines: Sequence[bytes]) -> str:
    digest = hashlib.sha256()
    partial = path.with_name(f".{path.name}")
    with partial.open("wb") as file:
        for line in lines:
            file.write(line)
            digest.update(line)
    partial.replace(path)
    return digest.hexdigest()
