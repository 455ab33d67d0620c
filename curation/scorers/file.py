"""Scores that were computed elsewhere."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from curation.errors import OperatorError
from curation.operators import Scorer

if TYPE_CHECKING:
    import polars as pl


class File(Scorer):
    """Scores by sample id from a CSV, Parquet or JSONL file that the user brings.

    Source: none; the numbers as they stand.

    Columns:
        every numeric column of the file, or only `column` (DOUBLE): null where the file has no row for a sample.
    """

    name: ClassVar[str] = "file"
    needs: ClassVar[tuple[str, ...]] = ()

    path: str = Field(description="File with a column `id` and one or more numeric columns")
    column: str | None = Field(None, description="Only this column")

    @property
    def columns(self) -> dict[str, str]:
        return dict.fromkeys(self._frame().columns[1:], "DOUBLE")

    def fingerprint(self) -> str:
        """Hash of the file: other content, other scores."""
        try:
            return hashlib.sha256(Path(self.path).read_bytes()).hexdigest()[:16]
        except OSError as error:
            raise self._unreadable(error) from None

    def score(self, batch: pl.DataFrame) -> pl.DataFrame:
        import polars as pl

        found = batch.select("id").join(self._frame(), on="id", how="left", maintain_order="left")
        names = found.columns[1:]
        reason = pl.when(pl.all_horizontal(pl.col(n).is_null() for n in names)).then(
            pl.lit("the file has no score for it")
        )
        return found.with_columns(reason.alias("reason")).drop("id")

    def _frame(self) -> pl.DataFrame:
        import polars as pl

        try:
            frame = _read(self.path)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise self._unreadable(error) from None
        numeric = [n for n, kind in frame.schema.items() if kind.is_numeric() and n != "id"]
        chosen = [self.column] if self.column else numeric
        if "id" not in frame.columns or not chosen or not set(chosen) <= set(numeric):
            wanted = f"a numeric column {self.column!r}" if self.column else "numeric columns"
            raise OperatorError(
                f"{self.path} needs a column 'id' and {wanted}; it has: {', '.join(frame.columns)}.",
                fix="write a file like: id,score (ids: winnow inspect CORPUS --json)",
            )
        values = [pl.col(n).cast(pl.Float64).fill_nan(None).alias(n) for n in chosen]
        return frame.select(pl.col("id").cast(pl.String), *values).unique("id", keep="first", maintain_order=True)

    def _unreadable(self, error: Exception) -> OperatorError:
        reason = str(error).split("\n")[0]
        return OperatorError(
            f"The file of scores {self.path} can't be read: {reason}", fix="give a CSV, Parquet or JSONL file"
        )


@lru_cache(maxsize=4)
def _read(path: str) -> pl.DataFrame:
    import polars as pl

    if path.endswith((".parquet", ".pq")):
        return pl.read_parquet(path)
    if path.endswith((".jsonl", ".ndjson")):
        return pl.read_ndjson(path)
    return pl.read_csv(path, infer_schema_length=None)
