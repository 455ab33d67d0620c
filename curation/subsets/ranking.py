"""What selectors share: scores as numbers, an order with a reason for everything it leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from curation.errors import OperatorError
from curation.operators import Pool, Selection

if TYPE_CHECKING:
    import polars as pl


def numbers(frame: pl.DataFrame, column: str) -> np.ndarray:
    """A score column as float64; NaN where it is null or not finite: such a number is no score.

    Raises:
        OperatorError: it holds no numbers.
    """
    values = frame[column]
    if not (values.dtype.is_numeric() or values.dtype == bool):
        raise OperatorError(f"{column!r} is not a number but {values.dtype}.", fix="choose a numeric score column")
    found: np.ndarray = values.cast(float).fill_null(float("nan")).to_numpy().astype(np.float64)
    found[~np.isfinite(found)] = np.nan
    return found


def best_first(values: np.ndarray, among: np.ndarray | None = None, *, descending: bool = True) -> np.ndarray:
    """Row numbers sorted by value, ties by row (so by id); NaN last.

    Args:
        values: one per row of the pool.
        among: the rows to sort, ascending; all of them when null.
        descending: highest first.
    """
    rows = np.arange(len(values)) if among is None else among
    order: np.ndarray = rows[np.argsort(-values[rows] if descending else values[rows], kind="stable")]
    return order


def enough(selector: str, found: int, budget: int, pool: Pool, what: str, fix: str) -> None:
    """Hold a selector to its budget.

    Args:
        selector: its name.
        found: samples that qualify.
        budget: samples that are asked for.
        pool: where they come from.
        what: what a sample must be to qualify, such as `have a score`.
        fix: what else would help, such as `raise the threshold`.

    Raises:
        OperatorError: fewer qualify than are asked for.
    """
    if found < budget:
        raise OperatorError(
            f"{selector}: {budget:,} samples are asked for; {found:,} of {len(pool):,} {what}.",
            fix=f"ask for at most {found}, or {fix}",
        )


def outside(score: str, values: np.ndarray, low: float, high: float) -> Callable[[int], str]:
    """Why a row was left by a selector that draws among the scores from `low` to `high`."""

    def reason(row: int) -> str:
        value = values[row]
        if np.isnan(value):
            return f"no {score}"
        if value < low:
            return f"{score} {value:.4g} is below {low:.4g}"
        return f"{score} {value:.4g} is above {high:.4g}" if value > high else "not drawn"

    return reason


def chosen(
    pool: Pool, order: Iterable[int], reason: str | Callable[[int], str], left: dict[int, str] | None = None
) -> Selection:
    """A selection from row numbers.

    Args:
        pool: whose rows.
        order: rows to keep, best first.
        reason: why a row that is neither kept nor in `left` was left; a function gets its row number.
        left: row -> its own reason.
    """
    ids: Sequence[str] = pool.frame["id"].to_list()
    kept = [int(i) for i in order]
    among = set(kept)
    left = left or {}
    plain = reason if isinstance(reason, str) else None
    told = reason if callable(reason) else str
    rejected = {
        name: left[i] if i in left else (plain if plain is not None else told(i))
        for i, name in enumerate(ids)
        if i not in among
    }
    return Selection([ids[i] for i in kept], rejected)
