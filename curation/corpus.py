"""The corpus: a folder that holds samples and everything that was measured, chosen and made from them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import duckdb
import polars as pl

from curation.errors import CorpusError, unknown
from curation.notebook import card_of
from curation.sample import Sample, from_row, schema
from curation.storage import tables
from curation.storage.database import FILE, Database, Statement
from curation.storage.finding import FEW
from curation.storage.sql import bad_sql, check_sql, condition, latest, quoted, score_table
from curation.storage.stored import SavedSelection, ScoreRun

SAMPLE_COLUMNS = tuple(schema())
OWN_COLUMNS = frozenset(SAMPLE_COLUMNS) | {"position", "turns", "response_chars", "batch", "added_at", "root"} | {
    "held_out", "decision", "decision_reason"
}  # fmt: skip
"""Columns of the view `everything` that are not scores."""

TAKEN = OWN_COLUMNS | {"reason"}
"""What no score may be called like, in whatever case."""


class Corpus:
    """A folder with `corpus.duckdb`; any number of processes may hold one of these at the same time."""

    def __init__(self, path: Path | str) -> None:
        """Open an existing corpus.

        Raises:
            CorpusError: there is none at `path`.
        """
        self.path = Path(path).expanduser().resolve()
        if not (self.path / FILE).exists():
            raise CorpusError(f"There is no corpus at {path}.", fix=f"winnow ingest {path} FILE...")
        self.database = Database(self.path)

    def __repr__(self) -> str:
        return f"Corpus({str(self.path)!r})"

    def _repr_html_(self) -> str:
        return card_of(self)

    @classmethod
    def create(cls, path: Path | str) -> Self:
        """Open the corpus at `path`, making an empty one where there is none."""
        folder = Path(path).expanduser().resolve()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CorpusError(
                f"The folder {folder} can't be made: {error.strerror}.", fix="choose a folder you may write to"
            ) from None
        database = Database(folder)
        first_views = (v.replace("CREATE OR REPLACE VIEW", "CREATE VIEW IF NOT EXISTS") for v in tables.views(()))
        database.run(*(s for s in tables.TABLES.split(";") if s.strip()), *first_views)
        return cls(folder)

    # ---------------------------------------------------------------- reading

    def frame(
        self,
        columns: Sequence[str] | None = None,
        *,
        where: str | None = None,
        order: str | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> pl.DataFrame:
        """Samples with their scores, tags and marks as columns; in the order of ingestion if none is given.

        Args:
            columns: any of `columns()`; the sample's own columns when null.
            where: a SQL condition over these columns, such as `source = 'a' AND ifd < 1`.
            order: SQL, such as `ifd DESC NULLS LAST`; ties are broken by position.
            limit: rows at most.
            offset: rows to skip.

        Raises:
            CorpusError: the condition or a column is wrong.
        """
        wanted = list(columns or SAMPLE_COLUMNS)
        if self.database.narrow and limit is not None and limit <= FEW and not {"id", "position"} >= set(wanted):
            shown = self.frame(["id", "position"], where=where, order=order, limit=limit, offset=offset)
            return self._at(shown, wanted)
        names = ", ".join(map(quoted, wanted))
        by = f"{check_sql(order, 'order')}\n, position" if order and order.strip() else "position"
        tail = (f" LIMIT {int(limit)}" if limit is not None else "") + (f" OFFSET {int(offset)}" if offset else "")
        return self._read(f"SELECT {names} FROM everything{condition(self.found(where))} ORDER BY {by}{tail}")

    def _at(self, samples: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
        # By position, which the database keeps an index of: an order over more columns would carry all of them along.
        names = ", ".join(map(quoted, dict.fromkeys(["id", *columns])))
        rows = self.run(
            f"SELECT {names} FROM everything SEMI JOIN shown_frame USING (position)",
            frames={"shown_frame": samples.select("position")},
        )
        return samples.select("id").join(rows, on="id", maintain_order="left").select(columns)

    def count(self, where: str | None = None) -> int:
        """Samples that meet the condition."""
        sql, narrow = f"SELECT count(*) AS n FROM everything{condition(self.found(where))}", self.database.narrow
        return narrow.counted(sql, self._number) if narrow else self._number(sql)

    def _number(self, sql: str) -> int:
        return int(self._read(sql).item())

    def found(self, where: str | None) -> str | None:
        """The condition as it is answered fastest: where this process keeps the corpus open, texts are read once."""
        narrow = self.database.narrow
        return narrow.found(where) if narrow and where and where.strip() else where

    def query(self, sql: str, *values: Any) -> pl.DataFrame:
        """The rows of a SELECT over the corpus' tables; for the pages and for notebooks."""
        return self._read(sql, values)

    def columns(self) -> dict[str, str]:
        """Every column a condition or an order can name -> DuckDB type."""
        described = self._read("SELECT column_name, column_type FROM (DESCRIBE everything)")
        return dict(described.iter_rows())

    def score_columns(self) -> dict[str, str]:
        """The score columns -> DuckDB type."""
        return {name: kind for name, kind in self.columns().items() if name not in OWN_COLUMNS}

    def sample(self, sample_id: str) -> Sample:
        """One sample by its id (a unique prefix will do), as it is now or as it was.

        Raises:
            CorpusError: no sample, or more than one, has this id.
        """
        found = self.query("SELECT id, position FROM samples WHERE starts_with(id, ?) LIMIT 2", sample_id)
        if found.height != 1:
            how_many = "no sample" if found.height == 0 else "more than one sample"
            raise CorpusError(
                f"{how_many.capitalize()} has an id that begins with {sample_id!r}.", fix="give the whole id"
            )
        names = ", ".join(quoted(c) for c in SAMPLE_COLUMNS)
        whole = self.query(f"SELECT {names} FROM versions WHERE id = ? AND position = ?", *found.row(0))
        return from_row(whole.row(0, named=True))

    def rejected(self) -> pl.DataFrame:
        """Rows that could not be read: file, line, reason, text; in file order."""
        return self.query('SELECT "file", line, reason, "text" FROM rejected ORDER BY "file", line')

    def batches(self) -> pl.DataFrame:
        """What was ingested when: one row per file and time."""
        return self.query("SELECT * FROM batches ORDER BY added_at")

    def _read(self, sql: str, values: Sequence[Any] = ()) -> pl.DataFrame:
        return self.run((sql, values))

    def run(
        self,
        *statements: str | Statement,
        frames: Mapping[str, pl.DataFrame] | None = None,
        timeout_seconds: float | None = None,
    ) -> pl.DataFrame:
        """Statements that hold a user's condition, in one transaction; the last one's rows.

        Raises:
            CorpusError: the condition is wrong; nothing was written.
        """
        try:
            return self.database.run(*statements, frames=frames, timeout_seconds=timeout_seconds)
        except duckdb.Error as error:
            known = self.database.run("SELECT column_name FROM (DESCRIBE everything)")["column_name"]
            raise bad_sql(error, known) from None

    # ---------------------------------------------------------------- writing samples

    def add(self, frame: pl.DataFrame, *, batch: str = "") -> tuple[int, int]:
        """Add samples (a frame with the columns of `sample.schema()`): how many were new, how many known already.

        A known sample stays as it is; that it came again, and with which metadata, is kept in `duplicates`.
        """
        result = self.database.run(
            *_insert_samples(batch),
            tables.ADDED,
            frames={"incoming_frame": _numbered(frame)},
        )
        n, added = result.row(0)
        return added, n - added

    def reject(self, rows: pl.DataFrame, *, batch: str = "") -> None:
        """Keep rows that could not be read: file, line, reason, text. The same row is kept once."""
        insert = """
            INSERT INTO rejected SELECT r."file", r.line, r.reason, r."text", ?, now()::TIMESTAMP FROM rejected_frame r
            WHERE NOT EXISTS (SELECT 1 FROM rejected k WHERE k."file" = r."file" AND k.line = r.line
                              AND k."text" IS NOT DISTINCT FROM r."text")"""
        self.database.run((insert, [batch]), frames={"rejected_frame": rows})

    def add_batch(self, batch: str, file: str, sha256: str, shape: str, counts: tuple[int, int, int]) -> None:
        """Record that a file was ingested; `counts` are added, duplicates, rejected."""
        insert = "INSERT INTO batches VALUES (?, ?, ?, ?, ?, ?, ?, now()::TIMESTAMP)"
        self.database.run((insert, [batch, file, sha256, shape, *counts]))

    def hold_out(self, ids: Sequence[str]) -> None:
        """Mark samples as held out: no selection takes them, and every mix evaluates on them."""
        self.database.run(
            """INSERT INTO held_out SELECT DISTINCT coalesce(root, id), now()::TIMESTAMP
            FROM samples SEMI JOIN held_frame USING (id) WHERE coalesce(root, id) NOT IN (SELECT id FROM held_out)""",
            frames={"held_frame": pl.DataFrame({"id": list(ids)}, schema={"id": pl.String})},
        )

    # ---------------------------------------------------------------- scores

    def begin_scoring(
        self, run: str, scorer: str, operator: str, model: str | None, columns: Mapping[str, str]
    ) -> None:
        """Make the narrow table of a scoring run where there is none, and record what it holds."""
        for name in columns:
            if not name.strip() or name.lower() in TAKEN or [n.lower() for n in columns].count(name.lower()) > 1:
                raise CorpusError(
                    f"A score can't be called {name!r}: the name is empty, or taken by a column of the corpus.",
                    fix="choose another name for the score: --set column=NAME",
                )
        own = "".join(f", {quoted(name)} {kind}" for name, kind in columns.items())
        self.database.run(
            f"CREATE TABLE IF NOT EXISTS {score_table(run)} (id VARCHAR{own}, reason VARCHAR)",
            (
                "INSERT INTO score_runs SELECT ?, ?, ?, ?, ?, ?, now()::TIMESTAMP, now()::TIMESTAMP "
                "WHERE ? NOT IN (SELECT run FROM score_runs)",
                [run, scorer, operator, model, list(columns), list(columns.values()), run],
            ),
            ("UPDATE score_runs SET used_at = now()::TIMESTAMP WHERE run = ?", [run]),
        )

    def unscored(self, run: str, where: str | None) -> pl.DataFrame:
        """`id` and `position` of the samples a scoring run has not measured yet, in the order of ingestion."""
        return self._read(
            f"SELECT id, position FROM (SELECT * FROM everything{condition(where)}) AS working_set "
            f"WHERE id NOT IN (SELECT id FROM {score_table(run)}) ORDER BY position"
        )

    def add_scores(self, run: str, shard: str, frame: pl.DataFrame) -> None:
        """Take one shard of scores; taking it twice changes nothing."""
        names = ", ".join(quoted(c) for c in frame.columns)
        table = score_table(run)
        self.database.run(
            f"INSERT INTO {table} ({names}) SELECT {names} FROM shard_frame ANTI JOIN {table} USING (id)",
            (
                "INSERT INTO shards SELECT ?, ?, ?, now()::TIMESTAMP "
                "WHERE NOT EXISTS (SELECT 1 FROM shards WHERE run = ? AND shard = ?)",
                [run, shard, frame.height, run, shard],
            ),
            frames={"shard_frame": frame},
        )

    def shards(self, run: str) -> set[str]:
        """Names of the shards of a run that were taken."""
        return set(self.query("SELECT shard FROM shards WHERE run = ?", run)["shard"])

    def refresh_scores(self) -> None:
        """Rebuild the wide `scores` table: of the runs that measured a sample, the one used last is shown."""
        runs = self.query("SELECT run, columns FROM score_runs ORDER BY used_at DESC, run")
        writers: dict[str, list[str]] = {}
        for run, columns in runs.iter_rows():
            for column in columns:
                writers.setdefault(column, []).append(run)
        picks = "".join(f", {latest(column, runs_of)} AS {quoted(column)}" for column, runs_of in writers.items())
        measured = [score_table(run) for run in runs["run"]]
        joins = "".join(f" LEFT JOIN {table} ON {table}.id = samples.id" for table in measured)
        self.database.run(
            "DROP VIEW IF EXISTS everything",
            "DROP VIEW IF EXISTS versions",
            f"CREATE OR REPLACE TABLE scores AS SELECT samples.id{picks} FROM samples{joins}",
            *tables.views(writers),
        )

    def score_runs(self) -> list[ScoreRun]:
        """Every scoring run, the one used last first."""
        runs = self.query("SELECT run, scorer, operator, model, columns FROM score_runs ORDER BY used_at DESC, run")
        return [
            ScoreRun(run, scorer, operator, model, tuple(columns), *self._measured(run, columns[0]))
            for run, scorer, operator, model, columns in runs.iter_rows()
        ]

    def _measured(self, run: str, column: str) -> tuple[int, int]:
        current = f"{score_table(run)} ANTI JOIN (SELECT id FROM states WHERE NOT is_current) earlier USING (id)"
        row = self.query(f"SELECT count({quoted(column)}), count(*) - count({quoted(column)}) FROM {current}").row(0)
        return int(row[0]), int(row[1])

    def unscored_reasons(self, run: str, where: str | None = None) -> dict[str, int]:
        """Why samples have no score in this run -> how many."""
        inside = f"AND id IN (SELECT id FROM everything{condition(where)})" if where else ""
        found = self._read(
            f"SELECT reason, count(*) AS n FROM {score_table(run)} WHERE reason IS NOT NULL {inside} "
            "GROUP BY reason ORDER BY n DESC, reason"
        )
        return dict(found.iter_rows())

    # ---------------------------------------------------------------- selections

    def save_selection(
        self, name: str, operator: str, where: str | None, pool: int, ids: Sequence[str], rejected: Mapping[str, str]
    ) -> None:
        """Store a selection under its name; one of the same name is replaced."""
        frames = {
            "chosen_frame": pl.DataFrame({"id": list(ids)}, schema={"id": pl.String}).with_row_index("rank", 1),
            "other_frame": pl.DataFrame(
                {"id": list(rejected), "reason": list(rejected.values())}, schema={"id": pl.String, "reason": pl.String}
            ),
        }
        self.database.run(
            *((f"DELETE FROM {table} WHERE name = ?", [name]) for table in ("selections", "selected", "not_selected")),
            (
                "INSERT INTO selections VALUES (?, ?, ?, ?, ?, now()::TIMESTAMP)",
                [name, operator, len(ids), where, pool],
            ),
            ("INSERT INTO selected SELECT ?, rank, id FROM chosen_frame", [name]),
            ("INSERT INTO not_selected SELECT ?, id, reason FROM other_frame", [name]),
            frames=frames,
        )

    def selection(self, name: str) -> SavedSelection:
        """A stored selection.

        Raises:
            CorpusError: there is none of this name.
        """
        found = self.query("SELECT operator, budget, working_set, pool FROM selections WHERE name = ?", name)
        if found.is_empty():
            raise unknown("selection", name, self.selections(), CorpusError)
        operator, budget, where, pool = found.row(0)
        ids = self.query('SELECT id FROM selected WHERE name = ? ORDER BY "rank"', name)["id"].to_list()
        return SavedSelection(name, json.loads(operator), budget, where, pool, ids)

    def selections(self) -> list[str]:
        """Names of the stored selections, oldest first."""
        return self.query("SELECT name FROM selections ORDER BY created_at, name")["name"].to_list()

    # ---------------------------------------------------------------- synthesis and mixes

    def synthesis_run(self, run: str, operator: str, model: str) -> None:
        """Record a synthesis run."""
        new = "WHERE ? NOT IN (SELECT run FROM synthesis_runs)"
        insert = f"INSERT INTO synthesis_runs SELECT ?, ?, ?, now()::TIMESTAMP {new}"
        self.database.run((insert, [run, operator, model, run]))

    def add_outcomes(self, run: str, shard: str, outcomes: pl.DataFrame) -> tuple[int, int]:
        """Take one shard of a synthesis run: accepted samples (`rejected_by` is null) and rejected ones.

        Taking it twice changes nothing. Returns how many samples were new and how many were known before this run.
        """
        if shard in self.shards(run):
            return 0, 0
        accepted = outcomes.filter(pl.col("rejected_by").is_null()).drop("rejected_by", "detail")
        result = self.database.run(
            *_insert_samples(run),
            (
                "INSERT INTO synthesis_rejected SELECT ?, id, instruction, response, parents, rejected_by, detail, "
                "metadata, now()::TIMESTAMP FROM refused_frame",
                [run],
            ),
            ("INSERT INTO shards VALUES (?, ?, ?, now()::TIMESTAMP)", [run, shard, outcomes.height]),
            tables.ADDED,
            frames={
                "incoming_frame": _numbered(accepted),
                "refused_frame": outcomes.filter(pl.col("rejected_by").is_not_null()),
            },
        )
        n, added = result.row(0)
        return added, n - added

    def save_mix(self, name: str, manifest: str, ids: Sequence[str]) -> None:
        """Record an exported mix and the samples of its train.jsonl."""
        self.database.run(
            ("DELETE FROM mixes WHERE name = ?", [name]),
            ("DELETE FROM mixed WHERE name = ?", [name]),
            ("INSERT INTO mixes VALUES (?, ?, now()::TIMESTAMP)", [name, manifest]),
            ("INSERT INTO mixed SELECT ?, id FROM mixed_frame", [name]),
            frames={"mixed_frame": pl.DataFrame({"id": list(ids)}, schema={"id": pl.String})},
        )

    def mixes(self) -> dict[str, dict[str, Any]]:
        """Exported mixes, oldest first: name -> manifest."""
        found = self.query("SELECT name, manifest FROM mixes ORDER BY created_at, name")
        return {name: json.loads(manifest) for name, manifest in found.iter_rows()}


def _insert_samples(batch: str) -> list[Any]:
    with_batch = [(tables.INSERT_SAMPLES, [batch]), (tables.INSERT_DUPLICATES, [batch])]
    return [tables.KNOWN_IDS, *with_batch, tables.INSERT_TAGS, tables.COME_BACK]


def _numbered(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_row_index("ordinal").with_columns(pl.col("id").is_first_distinct().alias("first_of_id"))
