"""Mixing: chosen samples become the files a trainer reads, with a manifest that says where every row came from.

MIX/train.jsonl     the mix
MIX/eval.jsonl      held-out samples, none of them in train.jsonl
MIX/random.jsonl    random samples of the same pool in random order, a little more text than train.jsonl
MIX/manifest.json   operators, parameters, models, counts by source, SHA-256
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from curation.corpus import Corpus
from curation.errors import CorpusError, unknown
from curation.files.formats import FORMATS
from curation.mix_files import MixFiles, Written, made, replace
from curation.mix_parts import chosen, pools_of, shuffled, times_of
from curation.mix_recipes import Mix, Part, build_mix, load_mix
from curation.names import checked_name
from curation.progress import Progress, silent
from curation.storage.sql import working
from curation.twins import with_twins

__all__ = ["ExportReport", "Mix", "Part", "build_mix", "export", "load_mix"]

EVAL_ROWS = 200
"""Samples to evaluate on, at most, where none are held out or none of those fits the format."""

RANDOM_MARGIN = 1.3
"""Text in random.jsonl per text in train.jsonl: the trainer cuts it to the token with its own tokenizer."""


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
    pools, changed = pools_of(corpus, mix)
    twins = len(set().union(*pools) & (unfair - set(held)))
    fair = [[i for i in pool if i not in unfair] for pool in pools]
    taken, given = chosen(corpus, mix, fair)
    ids = list(taken)
    written = MixFiles(corpus, made(folder), FORMATS[mix.format])
    train = _train(written, mix, taken, times_of(mix, fair, taken))
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
        **_stages(corpus, mix, train.ids, taken),
        "scores": [json.loads(run.operator) | {"model": run.model} for run in corpus.score_runs()],
        "files": {
            f.name: {"rows": f.rows, "characters": f.characters, "sha256": f.sha256}
            for f in (train, evaluation, baseline)
        },
        "notes": notes,
    }
    text = json.dumps(manifest, ensure_ascii=False, indent=2, sort_keys=True)
    replace(folder / "manifest.json", [text.encode() + b"\n"])
    corpus.save_mix(mix.name, text, list(dict.fromkeys(train.ids)))
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


def _train(written: MixFiles, mix: Mix, taken: Mapping[str, int], times: Mapping[str, int]) -> Written:
    """Stage after stage where there are some, shuffled inside each; repeated samples as often as they are to come."""
    if not taken:
        raise CorpusError("The parts of the mix have no samples.", fix="give a part that has some")
    stages = {i: mix.parts[place].stage for i, place in taken.items()} if mix.stages else {}
    order = {stage: number for number, stage in enumerate(mix.stages)}
    again = {f"{i}/{time}": i for i, count in times.items() for time in range(2, count + 1)}
    every = [again.get(i, i) for i in shuffled([*taken, *again], mix.seed)]
    ids = sorted(every, key=lambda i: order.get(stages.get(i) or "", 0))
    train = written.write("train", ids, at_least=1, stages=stages)
    if not train.rows:
        reasons = "; ".join(f"{reason}: {n:,}" for reason, n in train.skipped.items())
        raise CorpusError(
            f"No sample of the mix fits the format {mix.format!r} ({reasons}).", fix="choose another --format"
        )
    return train


def _stages(corpus: Corpus, mix: Mix, ids: Sequence[str], taken: Mapping[str, int]) -> dict[str, Any]:
    if not mix.stages:
        return {}
    of: dict[str, list[str]] = {stage: [] for stage in mix.stages}
    for i in ids:
        of[str(mix.parts[taken[i]].stage)].append(i)
    return {"stages": [{"stage": s, "rows": len(own), "tokens": _tokens(corpus, own)} for s, own in of.items()]}


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
