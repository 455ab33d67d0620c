"""Whether the sums in an answer are right: every equation between numbers is calculated again."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from curation.operators import Scorer

if TYPE_CHECKING:
    import polars as pl

SUSPECT = r"[\d)%}][^=＝\n]{0,12}[=＝][^=\d\n]{0,12}\d"
"""What every answer with an equation between numbers holds."""
NO_EQUATION = "the answer holds no equation between numbers"


class Arithmetic(Scorer):
    """How many equations of the answer are wrong; 0 is clean.

    Source: none; a calculator over the equations that `curation.texts.equations` can read. The right side may be
    rounded or cut off at its last decimal; a whole number may be rounded from a fraction.

    Columns:
        arithmetic (BIGINT): equations that don't hold; null, with the reason, where there is none to check.
        arithmetic_checked (BIGINT): equations that were calculated; 0 where there is none.
        arithmetic_error (VARCHAR): the first wrong one, as it was read; null where none is wrong.
    """

    name: ClassVar[str] = "arithmetic"
    needs: ClassVar[tuple[str, ...]] = ("response",)

    @property
    def columns(self) -> dict[str, str]:
        return {"arithmetic": "BIGINT", "arithmetic_checked": "BIGINT", "arithmetic_error": "VARCHAR"}

    def score(self, batch: pl.DataFrame) -> pl.DataFrame:
        import polars as pl

        places = batch["response"].str.contains(SUSPECT).fill_null(False).arg_true()
        read = [_checked(text) for text in batch["response"].gather(places)]
        wrong, checked, first = zip(*read, strict=True) if read else ((), (), ())
        height = batch.height
        none = pl.Series([None], dtype=pl.Int64).new_from_index(0, height)
        nothing = pl.Series([None], dtype=pl.String).new_from_index(0, height)
        measured = pl.DataFrame(
            {
                "arithmetic": none.scatter(places, pl.Series(wrong, dtype=pl.Int64)),
                "arithmetic_checked": none.fill_null(0).scatter(places, pl.Series(checked, dtype=pl.Int64)),
                "arithmetic_error": nothing.scatter(places, pl.Series(first, dtype=pl.String)),
            }
        )
        reason = pl.when(pl.col("arithmetic").is_null()).then(pl.lit(NO_EQUATION)).alias("reason")
        return measured.with_columns(reason)


def _checked(text: str) -> tuple[int | None, int, str | None]:
    """Wrong equations (null where none can be read), equations, the first wrong one."""
    from curation.texts.equations import equations_in

    equations = equations_in(text)
    wrong = [equation.text for equation in equations if not equation.holds]
    return (len(wrong) if equations else None), len(equations), (wrong[0] if wrong else None)
