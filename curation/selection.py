"""Selection: choose samples for a purpose, and say why the others were left."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from curation.columns import unscored_column
from curation.corpus import Corpus
from curation.errors import CorpusError, OperatorError
from curation.names import checked_name
from curation.operators import Pool, Selection, Selector
from curation.progress import Progress, silent
from curation.storage.sql import run_id, working
from curation.subsets.candidates import all_finite
from curation.tracing import current_versions
from curation.twins import QUESTION, with_twins
from curation.vectors import Vectors, vectors_of

NO_NUMBERS = "its vector holds no numbers"
GROUPED = re.compile(r"\d{1,3}(,\d{3})+%?")
"""A number with commas between thousands; any other comma may be a decimal one."""


@dataclass(frozen=True)
class SelectReport:
    """A stored selection."""

    name: str
    selector: str
    ids: list[str]
    """Best first."""
    rejected: dict[str, str]
    """id -> why it was left."""
    pool: int
    """Candidates: samples of the working set that are not held out."""


def select(
    corpus: Corpus,
    selector: Selector,
    budget: int | float | str,
    *,
    name: str,
    where: str | None = None,
    embedding: str | None = None,
    progress: Progress = silent,
) -> SelectReport:
    """Choose samples and store the choice under a name; a selection of the same name is replaced.

    Args:
        corpus: to choose from.
        selector: with its parameters.
        budget: samples to keep: a number, or a share of the pool such as "5%".
        name: what to call it.
        where: the working set; the whole corpus when null. Samples that were dropped, held-out ones and their twins are
            never candidates.
        embedding: for selectors that need vectors; the only or the latest one when null.
        progress: told the steps.

    Raises:
        CorpusError: a column or embedding is missing, or the pool is smaller than the budget.
        OperatorError: the budget is no number.
    """
    checked_name("selection", name)
    progress(0, 3, "reading the pool")
    pool, left = _pool(corpus, selector, where, embedding)
    keep = samples_in(budget, len(pool))
    if keep > len(pool):
        raise CorpusError(
            f"{keep:,} samples are asked for, but the pool has only {len(pool):,}.", fix=f"ask for at most {len(pool)}"
        )
    progress(1, 3, f"{selector.name}: choosing {keep:,} of {len(pool):,} samples")
    chosen = checked(selector, _select(selector, pool, keep), pool, keep)
    rejected = {**chosen.rejected, **left}
    progress(2, 3, "storing the selection")
    corpus.save_selection(name, selector.spec_json(), where, len(pool), chosen.ids, rejected)
    progress(3, 3, f"{name}: {keep:,} samples")
    return SelectReport(name, selector.name, chosen.ids, rejected, len(pool))


def samples_in(budget: int | float | str, pool: int) -> int:
    """A budget as a number of samples.

    Args:
        budget: a whole number, thousands parted by commas or not; or a share of the pool such as "2.5%".
        pool: its samples.

    Raises:
        OperatorError: it is no positive number or share, or a share that comes to none.
    """
    whole = isinstance(budget, float) and budget.is_integer()
    text = str(int(budget) if whole else budget).strip()
    if GROUPED.fullmatch(text):
        text = text.replace(",", "")
    try:
        share = float(text[:-1]) if text.endswith("%") else 0.0
        keep = round(share / 100 * pool) if text.endswith("%") else int(text)
    except (ValueError, OverflowError):
        share = keep = 0
    if share > 0 and keep < 1:
        raise OperatorError(
            f"{text} of {pool:,} samples is none.", fix="ask for a larger share, or for a number of samples, such as 1"
        )
    if keep < 1:
        raise OperatorError(
            f"The budget {budget!r} is not a number of samples.",
            fix="give a whole number, such as 500 or 1,500, or a share with a decimal point, such as 2.5%",
        )
    return keep


def checked(selector: Selector, chosen: Selection, pool: Pool, budget: int) -> Selection:
    """A selection held to the contract: the exact budget, no sample twice, a reason for every other one.

    Raises:
        OperatorError: the selector broke it.
    """
    ids = set(pool.frame["id"])
    kept = set(chosen.ids)
    if len(chosen.ids) != budget or len(kept) != budget or not kept <= ids or ids - kept != set(chosen.rejected):
        raise OperatorError(
            f"The selector {selector.name!r} broke its contract: {budget} different samples, a reason for the others.",
            fix="mend its select()",
        )
    return chosen


def _select(selector: Selector, pool: Pool, keep: int) -> Selection:
    try:
        return selector.select(pool, keep)
    except pl.exceptions.PolarsError:
        nested = [c for c in selector.needs if pool.frame[c].dtype.is_nested()]
        if not nested:
            raise
        raise OperatorError(
            f"{selector.name} can't use the column {nested[0]!r}: it holds lists.",
            fix="choose a column of plain values, such as source",
        ) from None


def _pool(corpus: Corpus, selector: Selector, where: str | None, embedding: str | None) -> tuple[Pool, dict[str, str]]:
    known = corpus.columns()
    for column in selector.needs:
        if column not in known:
            raise unscored_column(corpus, column)
    columns = list(dict.fromkeys(["id", "source", *selector.needs]))
    frame = corpus.frame(columns, where=working(where)).sort("id")
    left = never_candidates(corpus, frame["id"])
    vectors = vectors_of(corpus, embedding) if selector.needs_vectors else None
    targets = _targets(corpus, selector.target_where)
    left |= dict.fromkeys((i for i in frame["id"] if i in targets and i not in left), "it is one of the target samples")
    frame = frame.filter(~pl.col("id").is_in(list(left)))
    matrix = None
    if vectors is not None:
        place = pl.DataFrame({"id": vectors.ids, "place": np.arange(len(vectors.ids))})
        frame = frame.join(place, on="id", how="left", maintain_order="left")
        bare = frame.filter(pl.col("place").is_null())["id"]
        left |= dict.fromkeys(bare, f"no vector in the embedding {vectors.name!r}")
        frame = frame.drop_nulls("place")
        matrix = np.asarray(vectors.matrix[frame["place"].to_numpy()], np.float32)
        frame = frame.drop("place")
        finite = all_finite(matrix)
        if not finite.all():
            left |= dict.fromkeys(frame.filter(~finite)["id"], NO_NUMBERS)
            frame, matrix = frame.filter(finite), matrix[finite]
    if frame.is_empty():
        raise CorpusError("No sample is in the pool.", fix="widen the filter, or ingest more files")
    given = _given(corpus, selector.begins_with, frame)
    return Pool(frame, matrix, _vectors_of_targets(vectors, targets, selector), given), left


def never_candidates(corpus: Corpus, ids: pl.Series) -> dict[str, str]:
    """Of these samples those that no selection may take, and why: held out, their twins, contaminated."""
    held = corpus.query("SELECT id FROM everything WHERE held_out")["id"]
    of_held = set(held)
    left = {i: "held out for evaluation" for i in ids if i in of_held}
    twins = with_twins(corpus, held) - left.keys()
    left |= dict.fromkeys((i for i in ids if i in twins), "it asks what a held-out sample asks")
    if "contaminated" in corpus.columns():
        # Who has looked at a passage and kept the sample knows better than the rule.
        leaks = corpus.query("SELECT id FROM everything WHERE contaminated AND decision IS DISTINCT FROM 'keep'")["id"]
        of_leaks = set(leaks) - left.keys()
        left |= dict.fromkeys((i for i in ids if i in of_leaks), "contaminated: it repeats a benchmark")
    return left


def _targets(corpus: Corpus, where: str | None) -> set[str]:
    if where is None:
        return set()
    found = set(corpus.frame(["id"], where=working(where))["id"])
    if not found:
        raise CorpusError(f"No sample is a target: {where}.", fix="give another condition: --set target=SQL")
    return found


def _vectors_of_targets(vectors: Vectors | None, targets: set[str], selector: Selector) -> np.ndarray | None:
    if vectors is None or selector.target_where is None:
        return None
    rows = [row for row, i in enumerate(vectors.ids) if i in targets]
    matrix = np.asarray(vectors.matrix[rows], np.float32)
    found: np.ndarray = matrix[all_finite(matrix)]
    if not len(found):
        raise CorpusError(
            f"No target sample has a vector of finite numbers in the embedding {vectors.name!r}.",
            fix="embed them too: winnow embed CORPUS",
        )
    return found


def _given(corpus: Corpus, name: str | None, frame: pl.DataFrame) -> np.ndarray | None:
    """Rows of the pool that a stored selection has chosen, best first; what was rewritten since as it is now."""
    if name is None:
        return None
    ids = corpus.selection(name).ids
    current = current_versions(corpus, set(ids))
    row = {i: number for number, i in enumerate(frame["id"])}
    found = dict.fromkeys(row[now] for i in ids if (now := current.get(i, i)) in row)
    return np.fromiter(found, np.int64, len(found))


def hold_out(corpus: Corpus, budget: int | float | str, *, seed: int = 0) -> HoldOutReport:
    """Set samples aside for evaluation, each source with its share, before anything is chosen.

    Samples that were dropped are not counted. Samples that ask the same are held out together. The number is exact
    where it can be: a group that is larger than what is still missing is passed over, and taken only if nothing smaller
    is left, which then exceeds the number. Which ones depends on the seed and the ids alone. Asking for as many as are
    held out already changes nothing.

    Raises:
        OperatorError: the budget is no number of samples, or more than there are, or every sample asks the same.
    """
    frame = corpus.query(f"SELECT id, source, held_out, {QUESTION} AS question FROM everything WHERE {working(None)}")
    keep = samples_in(budget, frame.height)
    if keep >= frame.height:
        raise OperatorError(f"{keep:,} of {frame.height:,} samples can't be held out.", fix="leave some to select from")
    before = int(frame["held_out"].sum())
    ranked = frame.with_columns(
        pl.Series("draw", [run_id(str(seed), i) for i in frame["id"]]), pl.len().over("source").alias("size")
    ).with_columns((pl.col("draw").rank("ordinal").over("source") - 0.5).truediv("size").alias("place"))
    free = ranked.filter(~pl.col("held_out")).sort("place", "draw")
    groups = free.group_by("question", maintain_order=True).agg("id")["id"].to_list()
    new = _whole_groups(groups, max(0, keep - before))
    if before + len(new) == frame.height:
        raise OperatorError(
            f"With {keep:,} held out nothing would be left: samples that ask the same are held out together.",
            fix="hold out fewer, or ingest samples that ask something else",
        )
    corpus.hold_out(new)
    by_source = corpus.query(
        f"SELECT source, count(*) AS n FROM everything WHERE {working('held_out')} GROUP BY source ORDER BY source"
    )
    return HoldOutReport(len(new), before + len(new), dict(by_source.iter_rows()))


def _whole_groups(groups: Sequence[Sequence[str]], wanted: int) -> list[str]:
    taken: list[str] = []
    passed: list[Sequence[str]] = []
    for group in groups:
        if len(taken) + len(group) <= wanted:
            taken.extend(group)
        else:
            passed.append(group)
    if len(taken) < wanted:
        smallest = min(passed, key=len)
        taken.extend(smallest)
    return taken


@dataclass(frozen=True)
class HoldOutReport:
    """What is held out now."""

    added: int
    held_out: int
    by_source: dict[str, int]
