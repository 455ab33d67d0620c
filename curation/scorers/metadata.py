"""Numbers that came with the data."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from curation.operators import Scorer

if TYPE_CHECKING:
    import polars as pl


class Metadata(Scorer):
    """A numeric metadata field as a score: a rating, a reward, a vote that the data already has.

    Source: none; the number as it stands.

    Columns:
        the field's name, or `column` (DOUBLE): the number; null where the field is missing or is no number.
    """

    name: ClassVar[str] = "metadata"
    needs: ClassVar[tuple[str, ...]] = ("metadata",)

    field: str = Field(min_length=1, description="Metadata field to read")
    column: str | None = Field(None, description="What to call the score; the field's name if null")

    @property
    def columns(self) -> dict[str, str]:
        return {self.column or re.sub(r"\W+", "_", self.field).strip("_").lower(): "DOUBLE"}

    def score(self, batch: pl.DataFrame) -> pl.DataFrame:
        import orjson
        import polars as pl

        numbers, reasons = [], []
        for text in batch["metadata"]:
            value = orjson.loads(text or "{}").get(self.field)
            number = _number(value)
            numbers.append(number)
            missing = f"no field {self.field!r} in the metadata" if value is None else f"{self.field!r} is not a number"
            reasons.append(None if number is not None else missing)
        name = next(iter(self.columns))
        return pl.DataFrame(
            {name: numbers, "reason": reasons},
            schema_overrides={name: pl.Float64, "reason": pl.String},
        )


def _number(value: object) -> float | None:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if not isinstance(value, int | float):
        return None
    number = float(value)
    return number if number - number == 0 else None
