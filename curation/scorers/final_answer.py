"""Whether the final answer of a solution is the expected one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from curation.operators import Scorer

if TYPE_CHECKING:
    import polars as pl

NO_REFERENCE = "the metadata hold no reference answer"
NO_ANSWER = "the response names no final answer"


class FinalAnswer(Scorer):
    """Whether the response ends in the expected answer, which the metadata hold: 42, $1,250.50, 3/4, 50%, (B).

    Source: the `####` of GSM8K (Cobbe et al. 2021, arXiv 2110.14168) and the box of MATH (Hendrycks et al. 2021, arXiv
        2103.03874); the rules are our own, see `curation.texts.final_answers`.

    Columns:
        final_answer (BOOLEAN): whether both are the same; null, with the reason, where one of them is missing.
        final_answer_found (VARCHAR): the response's answer, as it writes it.
        final_answer_expected (VARCHAR): the reference.

    Differs from the source: numbers are compared by value (a percent sign may mean a hundredth or not, decimals are
        rounded to the shorter of two that have at least two), the unit is not; other answers by their text.
    """

    name: ClassVar[str] = "final-answer"
    needs: ClassVar[tuple[str, ...]] = ("response", "metadata")

    reference: str | None = Field(
        None, description="Metadata field with the expected answer (a.b leads inwards); the usual names if empty"
    )

    @property
    def columns(self) -> dict[str, str]:
        return {"final_answer": "BOOLEAN", "final_answer_found": "VARCHAR", "final_answer_expected": "VARCHAR"}

    def score(self, batch: pl.DataFrame) -> pl.DataFrame:
        import polars as pl

        rows = [self._row(response or "", text) for response, text in batch.select("response", "metadata").iter_rows()]
        schema = dict.fromkeys((*self.columns, "reason"), pl.String) | {"final_answer": pl.Boolean}
        return pl.DataFrame(rows, schema=schema, orient="row")

    def _row(self, response: str, metadata: str | None) -> tuple[bool | None, str | None, str | None, str | None]:
        from curation.texts.final_answers import expected_answer, final_answers, same_answer

        # Not orjson, which reads integers over 64 bits as doubles.
        expected = expected_answer(json.loads(metadata or "{}"), self.reference)
        if expected is None:
            missing = f"no field {self.reference!r} with an answer in the metadata" if self.reference else NO_REFERENCE
            return None, None, None, missing
        readings = final_answers(response)
        if not readings:
            return None, None, expected, NO_ANSWER
        right = next((found for found in readings if same_answer(found, expected)), None)
        return right is not None, right or readings[0], expected, None
