"""Mixing: chosen samples become the files a trainer reads, with a manifest that says where every row came from.

MIX/train.jsonl     the mix
MIX/eval.jsonl      held-out samples, none of them in train.jsonl
MIX/random.jsonl    random samples of the same pool in random order, a little more text than train.jsonl
MIX/manifest.json   operators, parameters, models, counts by source, SHA-256
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from curation.corpus import Corpus
from curation.errors import CorpusError, unknown
from curation.files.formats import FORMATS
from curation.mix_files import MixFiles, Written, made, replace
from curation.names import checked_name
from curation.operators import translated
from curation.progress import Progress, silent
from curation.storage.sql import working
from curation.tracing import current_versions
from curation.twins import with_twins

EVAL_ROWS = 200
"""Samples to evaluate on, at most, where none are held out or none of those fits the format."""

RANDOM_MARGIN = 1.3
"""Text in random.jsonl per text in train.jsonl: the trainer cuts it to the token with its own tokenizer."""


class Part(BaseModel):
    """Where samples of a mix come from, and how many."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    selection: str | None = Field(None, description="A stored selection; its best samples come first")
    where: str | None = Field(None, description="Or a SQL condition; samples come in an order drawn by the seed")
    rows: int | None = Field(None, ge=1, description="Exactly so many samples")
    weight: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="Or a share, relative to the other parts' weights"
    )

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
        fields = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CorpusError(
            f"The mix {path} can't be read: {error}.", fix="give a JSON file with name and parts"
        ) from None
    if not isinstance(fields, dict):
        raise CorpusError(f"The mix {path} holds no JSON object.", fix='write {"name": ..., "parts": [...]}')
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
    checked_name("mix", mix.name)
    if mix.format not in FORMATS:
        raise unknown("format", mix.format, FORMATS, CorpusError)
    folder = folder or corpus.path / "mixes" / mix.name
    progress(0, 4, "choosing the rows")
    held = corpus.frame(["id"], where=working("held_out"))["id"].to_list()
    unfair = with_twins(corpus, corpus.query("SELECT id FROM everything WHERE held_out")["id"])
    pools, changed = _pools(corpus, mix)
    twins = len(set().union(*pools) & (unfair - set(held)))
    ids, given = _chosen(corpus, mix, [[i for i in pool if i not in unfair] for pool in pools])
    written = MixFiles(corpus, made(folder), FORMATS[mix.format])
    train = _train(written, mix, ids)
    progress(1, 4, f"train.jsonl: {train.rows:,} rows")
    evaluation, note = _evaluation(written, mix, held, ids, train)
    progress(2, 4, f"eval.jsonl: {evaluation.rows:,} rows")
    others = _random(corpus, mix, unfair | with_twins(corpus, evaluation.ids))
    enough = int(train.characters * RANDOM_MARGIN)
    baseline = written.write("random", others, lambda rows, characters: characters >= enough)
    progress(3, 4, f"random.jsonl: {baseline.rows:,} rows")
    notes = tuple(n for n in (*changed, _twins_note(twins), note, _random_note(train, baseline)) if n)
    manifest = {
        "name": mix.name,
        "format": mix.format,
        "seed": mix.seed,
        "mix": mix.model_dump(mode="json"),
        "parts": given,
        "by_source": train.by_source,
        "skipped": train.skipped,
        "tokens": _tokens(corpus, train.ids),
        "scores": [json.loads(run.operator) | {"model": run.model} for run in corpus.score_runs()],
        "files": {
            f.name: {"rows": f.rows, "characters": f.characters, "sha256": f.sha256}
            for f in (train, evaluation, baseline)
        },
        "notes": notes,
    }
    text = json.dumps(manifest, ensure_ascii=False, indent=2, sort_keys=True)
    replace(folder / "manifest.json", [text.encode() + b"\n"])
    corpus.save_mix(mix.name, text, train.ids)
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


def _train(written: MixFiles, mix: Mix, ids: Sequence[str]) -> Written:
    if not ids:
        raise CorpusError("The parts of the mix have no samples.", fix="give a part that has some")
    train = written.write("train", shuffled(ids, mix.seed), at_least=1)
    if not train.rows:
        reasons = "; ".join(f"{reason}: {n:,}" for reason, n in train.skipped.items())
        raise CorpusError(
            f"No sample of the mix fits the format {mix.format!r} ({reasons}).", fix="choose another --format"
        )
    return train


def shuffled(ids: Iterable[str], seed: int) -> list[str]:
    """Ids in an order that depends on the seed and on nothing else: not on how they came."""
    return sorted(ids, key=lambda i: hashlib.sha256(f"{seed}/{i}".encode()).digest())


def _chosen(corpus: Corpus, mix: Mix, pools: Sequence[Sequence[str]]) -> tuple[list[str], list[dict[str, Any]]]:
    taken: dict[str, None] = {}
    rows = [0] * len(mix.parts)
    for place, part in enumerate(mix.parts):
        if part.weight is not None:
            continue
        fresh = [i for i in pools[place] if i not in taken]
        if part.rows is not None and len(fresh) < part.rows:
            raise CorpusError(
                f"{part.rows:,} are asked for of {_called(part)!r}, which has {len(fresh):,} left.",
                fix=f"ask for at most {len(fresh)} rows" if fresh else "leave the part out",
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
    """Place of each weighted part -> its samples; they take turns by weight until the first is used up.

    A sample that several parts have goes to the one whose turn it is, so that no part starves another, whichever is
    written first.
    """
    weights = {place: part.weight for place, part in enumerate(parts) if part.weight is not None}
    fresh = {place: iter(pools[place]) for place in weights}
    given: dict[int, list[str]] = {place: [] for place in weights}
    while weights:
        turn = min(weights, key=lambda p: ((len(given[p]) + 1) / weights[p], _called(parts[p])))
        following = next((i for i in fresh[turn] if i not in taken), None)
        if following is None:
            break
        given[turn].append(following)
        taken.add(following)
    for place, ids in given.items():
        if not ids:
            raise _starved(parts[place], parts[turn], empty=not pools[place])
    return given


def _starved(part: Part, used_up: Part, *, empty: bool) -> CorpusError:
    if part != used_up:
        return CorpusError(
            f"The part {_called(part)!r} gets no sample: {_called(used_up)!r} is used up before its first turn.",
            fix="give weights that are less far apart, or rows instead",
        )
    why = "it has none that are not held out" if empty else "the other parts took them all"
    return CorpusError(f"The part {_called(part)!r} has no sample left to give: {why}.", fix="leave it out")


def _called(part: Part) -> str:
    return part.selection or part.where or ""


def _pools(corpus: Corpus, mix: Mix) -> tuple[list[list[str]], list[str]]:
    """The candidates of each part as they are now, and notes on those of selections that changed since."""
    alive = set(corpus.frame(["id"], where=working(None))["id"])
    chosen = {p.selection: corpus.selection(p.selection).ids for p in mix.parts if p.selection is not None}
    every = {i for ids in chosen.values() for i in ids}
    current = current_versions(corpus, every)
    pools = []
    for part in mix.parts:
        if part.selection is None:
            pools.append(shuffled(corpus.frame(["id"], where=working(part.where))["id"].to_list(), mix.seed))
        else:
            now = dict.fromkeys(current.get(i, i) for i in chosen[part.selection])
            pools.append([i for i in now if i in alive])
    return pools, _changed_notes(corpus, every, current, alive)


def _changed_notes(corpus: Corpus, chosen: set[str], current: Mapping[str, str], alive: set[str]) -> list[str]:
    withdrawn = set(corpus.query("SELECT id FROM states WHERE NOT is_current AND replaced_by IS NULL")["id"])
    of_selections = "samples of the selections"
    told = {
        f"{of_selections} were rewritten since: their latest version is taken": current.keys() - withdrawn,
        f"{of_selections} had their rewriting undone since: the version before it is taken": current.keys() & withdrawn,
        f"{of_selections} were dropped since, and are left out": {current.get(i, i) for i in chosen} - alive,
    }
    return [f"{len(ids):,} {what}" for what, ids in told.items() if ids]


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


def _evaluation(
    written: MixFiles, mix: Mix, held: Sequence[str], ids: Sequence[str], train: Written
) -> tuple[Written, str | None]:
    """What is held out; where nothing of it fits the format, samples that the mix left, and a note that says so."""
    evaluation = written.write("eval", shuffled(held, 0))
    if evaluation.rows:
        return evaluation, None
    corpus = written.corpus
    seen = with_twins(corpus, ids) | set(held)
    every = corpus.frame(["id"], where=working(None))["id"].to_list()
    most = max(1, min(EVAL_ROWS, train.rows // 10)) if held else EVAL_ROWS
    left = [i for i in shuffled(every, 0) if i not in seen]
    evaluation = written.write("eval", left, lambda rows, characters: rows >= most)
    more = min(len(held) + max(1, min(EVAL_ROWS, len(every) // 10)), max(1, len(every) - 1))
    advice = f"set some aside before selecting: winnow hold-out {corpus.path} {more}"
    why = f"none of the {len(held):,} held-out samples fits the format {mix.format}" if held else ""
    if evaluation.rows:
        found = (
            f"eval.jsonl has {evaluation.rows} samples that the mix left, which is not the same as held out; {advice}"
        )
        return evaluation, f"{why}: {found}" if why else found
    rest = f"the mix left none that fits the format {mix.format}" if left else "the mix took every sample"
    return evaluation, f"eval.jsonl is empty, as {why + ' and ' if why else ''}{rest}; {advice}"


def _twins_note(n: int) -> str | None:
    return f"{n:,} samples of the parts are left out: they ask what a held-out sample asks" if n else None


def _random(corpus: Corpus, mix: Mix, without: set[str]) -> list[str]:
    conditions = {corpus.selection(p.selection).working_set if p.selection else p.where for p in mix.parts}
    where = " OR ".join(f"({c}\n)" for c in sorted(c for c in conditions if c)) if None not in conditions else None
    pool = corpus.frame(["id"], where=working(where))["id"].to_list()
    return [i for i in shuffled(pool, mix.seed + 1) if i not in without]


def _random_note(train: Written, baseline: Written) -> str | None:
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
