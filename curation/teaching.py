"""Teaching a concept: yes/no answers about a few samples, which to ask about next, and how sure it is by now."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from curation.annotating import YES_NO, annotate, ask, questions
from curation.corpus import Corpus
from curation.errors import CorpusError, WinnowError
from curation.intervals import auc_interval, wilson
from curation.scorers.concept import FEWEST_JUDGED, NAME, Taught, answered, learn, logistic
from curation.searching import Kind, Query, Space, search, space_of
from curation.storage.sql import condition, literal, working

ASKED_NEXT = 5
"""Samples that a report proposes."""


@dataclass(frozen=True)
class TeachReport:
    """A concept as it stands now."""

    concept: str
    answered: int
    """Samples that were answered, or otherwise than before, in this call."""
    sureness: Sureness
    yes: int
    """Answers that count: those whose sample has a vector, and on which all agree."""
    no: int
    next: list[Proposal]
    """What to ask about next."""


@dataclass(frozen=True)
class Sureness:
    """How well answers are foretold from the others; null with the reason where there are too few."""

    auc: float | None
    """Area under the ROC curve, 0..1; 0.5 is chance."""
    auc_interval: tuple[float, float] | None
    accuracy: float | None
    """Share of answers on the right side of 0.5."""
    accuracy_interval: tuple[float, float] | None
    reason: str | None = None


@dataclass(frozen=True)
class Proposal:
    """A sample to ask about."""

    id: str
    probability: float | None
    """Of a yes; null before there is a yes and a no."""
    why: str
    """`unsure`, `top`, `like` (like what is of it, or like its description) or `any`."""


def teach(
    corpus: Corpus,
    concept: str,
    *,
    yes: Sequence[str] = (),
    no: Sequence[str] = (),
    text: str = "",
    embedding: str | None = None,
    who: str | None = None,
) -> TeachReport:
    """Answer whether samples are of a concept; the first time it is asked about makes it.

    Args:
        corpus: whose samples.
        concept: its name: small letters, digits and _.
        yes: ids of samples that are of it.
        no: ids of samples that are not.
        text: what it is, in words; the first samples are proposed by it.
        embedding: to judge by; the latest one when null.
        who: answers; the name of the user when null.

    Raises:
        CorpusError: the name or an id is wrong, a sample is on both sides, or there is no embedding.
    """
    begun(corpus, concept, text, who)
    if set(yes) & set(no):
        twice = sorted(set(yes) & set(no))[0]
        raise CorpusError(f"The sample {twice} is said to be of {concept!r} and not.", fix="give it once")
    changed = 0
    for answer, ids in zip(YES_NO, (yes, no), strict=True):
        if ids:
            whole = [corpus.sample(i).id for i in ids]
            changed += annotate(corpus, concept, answer, ids=whole, who=who).changed
    taught = learn(space_of(corpus, embedding), *answered(corpus, concept))
    following = propose(corpus, concept, embedding=embedding, many=ASKED_NEXT)
    return TeachReport(concept, changed, sureness(taught), taught.yes, taught.no, following)


def begun(corpus: Corpus, concept: str, text: str = "", who: str | None = None) -> None:
    """Make a concept where there is none of this name.

    Raises:
        CorpusError: it can't be called so, or a question of this name has other answers than yes and no.
    """
    if not re.fullmatch(NAME, concept):
        raise CorpusError(f"No concept can be called {concept!r}.", fix="begin with a letter; use a-z, 0-9 and _ only")
    known = next((q for q in questions(corpus) if q.name == concept), None)
    if known is not None and not set(YES_NO) <= set(known.answers):
        raise CorpusError(
            f"The question {concept!r} is answered with {', '.join(known.answers)}.", fix="choose another name"
        )
    if known is None or (text.strip() and text.strip() != known.text):
        ask(corpus, concept, known.answers if known else YES_NO, text=text, kind="concept", who=who)


def sureness(taught: Taught) -> Sureness:
    """How sure a concept is: each answer foretold by what the others teach, in five folds.

    The samples that are asked about are mostly hard ones, so that the numbers are worse than among all samples.
    """
    from sklearn.metrics import roc_auc_score

    told = taught.held_out
    if told is None:
        return Sureness(None, None, None, None, taught.problem(FEWEST_JUDGED))
    auc = float(roc_auc_score(taught.labels, told))
    right = int(((told > 0.5) == taught.labels).sum())
    return Sureness(auc, auc_interval(auc, taught.yes, taught.no), right / len(told), wilson(right, len(told)))


# -------------------------------------------------------------------- what to ask next


def propose(
    corpus: Corpus,
    concept: str,
    *,
    embedding: str | None = None,
    where: str | None = None,
    without: Sequence[str] = (),
    many: int = 1,
    kind: str | None = None,
) -> list[Proposal]:
    """What to ask next: mostly what it is least sure of, every third time one of the likeliest.

    Before there is a yes and a no: what its description is like, and any sample, in turn.

    Args:
        corpus: whose samples; its working set, what was dropped is not asked about.
        concept: its name.
        embedding: to judge by; the latest one when null.
        where: a condition on the samples.
        without: ids of samples that are not to be asked about, besides those that were.
        many: samples at most.
        kind: `unsure` or `top` to have only these.

    Raises:
        CorpusError: there is no embedding, or the condition is wrong.
    """
    space = space_of(corpus, embedding)
    yes, no = answered(corpus, concept)
    taught = learn(space, yes, no)
    asked = corpus.query("SELECT DISTINCT id FROM answers WHERE question = ?", concept)["id"].to_list()
    if taught.weights is None:
        return _first(corpus, space, concept, yes, [*asked, *without], where, many, len(asked))
    turn = kind or ("top" if len(asked) % 3 == 2 else "unsure")
    values = _judged(space, taught)
    rank = np.abs(values) if turn == "unsure" else -values
    taken, looked = {*asked, *without}, many + len(asked) + len(without) + 64
    while True:
        rows = np.argsort(rank, kind="stable") if looked >= len(rank) else _smallest(rank, looked)
        near = pl.DataFrame({"id": space.ids.gather(rows), "row": rows})
        found = corpus.run(
            f"SELECT id FROM everything SEMI JOIN near_frame USING (id){condition(corpus.found(working(where)))}",
            frames={"near_frame": near.select("id")},
        )
        free = near.filter(pl.col("id").is_in(found["id"].to_list()) & ~pl.col("id").is_in(list(taken))).head(many)
        if free.height == many or looked >= len(rank):
            told = logistic(values[free["row"].to_numpy()].astype(np.float64))
            return [Proposal(i, float(p), turn) for i, p in zip(free["id"], told, strict=True)]
        looked *= 8


_kept: dict[str, np.ndarray] = {}


def _judged(space: Space, taught: Taught) -> np.ndarray:
    """What the concept makes of each row, float32 (samples,), before the sigmoid; kept for the last one."""
    values = _kept.get(taught.digest)
    if values is None:
        assert taught.weights is not None
        values = np.asarray(space.matrix @ taught.weights.astype(np.float32) + np.float32(taught.bias))
        _kept.clear()
        _kept[taught.digest] = values
    return values


def _smallest(rank: np.ndarray, many: int) -> np.ndarray:

    rows = np.flatnonzero(rank <= np.partition(rank, many)[many])
    ordered: np.ndarray = rows[np.lexsort((rows, rank[rows]))]
    return ordered


def _first(
    corpus: Corpus,
    space: Space,
    concept: str,
    yes: Sequence[str],
    taken: Sequence[str],
    where: str | None,
    many: int,
    turn: int,
) -> list[Proposal]:
    """Before there is anything to learn from."""
    text = next((q.text for q in questions(corpus) if q.name == concept), concept)
    query = Query(like=tuple(yes)) if yes else Query(text, Kind.MEANING, embedding=space.name)
    if turn % 2 == 0:
        try:
            found = search(corpus, query, where=working(where), most=many + len(taken))
            ids = [i for i in found.ids if i not in taken] if found.ids is not None else []
            return [Proposal(i, None, "like") for i in ids[:many]]
        except WinnowError:  # vectors that were brought along have no words
            pass
    listed = ", ".join(map(literal, taken)) or "''"
    rows = corpus.frame(
        ["id"],
        where=f"({working(where)}) AND id NOT IN ({listed})",
        order=f"hash(id || {literal(concept)})",
        limit=many,
    )
    return [Proposal(i, None, "any") for i in rows["id"]]
