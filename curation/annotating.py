"""Annotating: questions that people answer about samples, each answer a row with who and when.

Changing one's answer is another row, of which the last counts; taking it back is a row without an answer. Two views of
the database show what counts, for filters as well:

    answers (question, id, who, answer)   what each annotator says now
    labels  (question, id, answer)        what all who answered agree on, or what was settled where they did not

    id IN (SELECT id FROM labels WHERE question = 'quality' AND answer = 'good')
"""

from __future__ import annotations

import getpass
import itertools
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from curation.agreement import Measure, alpha, kappa, share
from curation.corpus import Corpus
from curation.deciding import targets_of
from curation.errors import CorpusError, unknown
from curation.names import checked_name
from curation.storage.sql import literal

YES_NO = ("yes", "no")
MOST_ANSWERS = 9
"""Of a question: one for each digit key."""
LISTED = 1_000
"""Disagreements that a report lists."""
QUEUES = ("working-set", "random", "others", "disagreements")
"""Which samples come: in the order of ingestion; in an order drawn by chance, the same for everybody; those that
somebody else has answered; those that I have answered otherwise than somebody else."""


@dataclass(frozen=True)
class Question:
    """What is asked about samples."""

    name: str
    text: str
    answers: tuple[str, ...]
    kind: str = "label"
    """`label`, or `concept` where the answers teach one."""


@dataclass(frozen=True)
class AnnotateReport:
    """What was answered now."""

    question: str
    answer: str | None
    who: str
    changed: int
    """Samples that had no answer of this annotator, or another one."""
    unchanged: int


def ask(
    corpus: Corpus,
    name: str,
    answers: Sequence[str] = YES_NO,
    *,
    text: str = "",
    kind: str = "label",
    who: str | None = None,
) -> Question:
    """Make a question, or give one more answers or another text.

    Args:
        corpus: whose samples it is about.
        name: what it is called, in filters too.
        answers: 2 to 9, in the order of their keys.
        text: what annotators read; the name when empty.
        kind: `label`, or `concept`.
        who: makes it; the name of the user when null.

    Raises:
        CorpusError: too few or too many answers, or an answer that was given already is missing.
    """
    name = checked_name("question", name.strip())
    wanted = tuple(dict.fromkeys(a.strip() for a in answers if a.strip()))
    if not 2 <= len(wanted) <= MOST_ANSWERS:
        raise CorpusError(
            f"The question {name!r} has {len(wanted)} different answers.", fix=f"give 2 to {MOST_ANSWERS}: good,bad"
        )
    question = Question(name, text.strip() or name, wanted, kind)
    known = next((q for q in questions(corpus) if q.name == name), None)
    if known is not None and (known.text, known.answers) == (question.text, wanted):
        return known
    given = corpus.query("SELECT DISTINCT answer FROM answers WHERE question = ? ORDER BY answer", name)["answer"]
    lost = [answer for answer in given if answer not in wanted]
    if lost:
        raise CorpusError(
            f"The question {name!r} was answered with {lost[0]!r} already.", fix=f"keep it among the answers: {lost[0]}"
        )
    row = [name, kind, question.text, list(wanted), who or getpass.getuser()]
    corpus.database.run(("INSERT INTO questions VALUES (?, ?, ?, ?, ?, now()::TIMESTAMP)", row))
    return question


def questions(corpus: Corpus, kind: str | None = None) -> list[Question]:
    """The questions, the oldest first; of one kind, or all."""
    rows = corpus.query(
        'SELECT question, last("text" ORDER BY made_at), last(answers ORDER BY made_at), first(kind ORDER BY made_at) '
        "FROM questions GROUP BY question ORDER BY min(made_at), question"
    )
    found = [Question(name, text, tuple(answers), of) for name, text, answers, of in rows.iter_rows()]
    return [question for question in found if kind is None or question.kind == kind]


def question_of(corpus: Corpus, name: str) -> Question:
    """A question by its name.

    Raises:
        CorpusError: nobody has made it.
    """
    known = {question.name: question for question in questions(corpus)}
    if name not in known:
        raise unknown("question", name, known, CorpusError)
    return known[name]


def annotate(
    corpus: Corpus,
    question: str,
    answer: str | None,
    *,
    where: str | None = None,
    ids: Iterable[str] | None = None,
    who: str | None = None,
    settles: bool = False,
) -> AnnotateReport:
    """Answer a question about samples.

    Args:
        corpus: whose samples.
        question: its name.
        answer: one of its answers; null takes back what this annotator said.
        where: a SQL condition on the samples.
        ids: or the samples themselves.
        who: answers; the name of the user when null.
        settles: whether this decides what annotators disagree on, instead of being one more answer.

    Raises:
        CorpusError: there is no such question or answer, or the samples are wrong.
    """
    asked, who = question_of(corpus, question), annotator(who)
    if answer is not None and answer not in asked.answers:
        raise unknown("answer", answer, asked.answers, CorpusError)
    targets, frames = targets_of(corpus, where, list(ids) if ids is not None else None)
    act = uuid.uuid4().hex[:12]
    insert = _ANSWER.format(act=literal(act), targets=targets)
    result = corpus.run(
        f"CREATE OR REPLACE TEMP TABLE targets AS {targets}",
        (insert, [question, answer, who, settles, question, settles, settles, who, answer]),
        "SELECT (SELECT count(*) FROM targets) AS asked, "
        f"(SELECT count(*) FROM annotations WHERE act = {literal(act)}) AS changed",
        frames=frames,
    )
    changed = int(result["changed"][0])
    return AnnotateReport(question, answer, who, changed, int(result["asked"][0]) - changed)


def annotator(who: str | None) -> str:
    """The name of an annotator; the user's when null.

    Raises:
        CorpusError: it can't be printed.
    """
    return checked_name("annotator", (who if who is not None else getpass.getuser()).strip())


# A statement may be sent twice: the second time its act is there.
_ANSWER = """
INSERT INTO annotations
SELECT (SELECT coalesce(max("number"), 0) FROM annotations) + row_number() OVER (), {act}, ?, t.id, ?, ?, ?,
    now()::TIMESTAMP
FROM targets t LEFT JOIN (
    SELECT id, answer FROM annotations WHERE question = ? AND settles = ? AND (? OR who = ?)
    QUALIFY row_number() OVER (PARTITION BY id ORDER BY "number" DESC) = 1) before USING (id)
WHERE before.answer IS DISTINCT FROM ? AND NOT EXISTS (SELECT 1 FROM annotations WHERE act = {act})"""


# -------------------------------------------------------------------- what was answered


def answers_to(corpus: Corpus, question: str) -> pl.DataFrame:
    """What counts now: `id`, `who`, `answer`, `made_at`; the oldest first."""
    return corpus.query(
        "SELECT id, who, answer, made_at FROM answers WHERE question = ? ORDER BY made_at, id", question
    )


def labels_of(corpus: Corpus, question: str) -> dict[str, str]:
    """Sample -> the answer that all agree on, or that was settled; sorted by id."""
    return dict(corpus.query("SELECT id, answer FROM labels WHERE question = ? ORDER BY id", question).iter_rows())


def label_condition(question: str, answer: str) -> str:
    """The condition that a sample's label is this answer."""
    return f"id IN (SELECT id FROM labels WHERE question = {literal(question)} AND answer = {literal(answer)})"


def queue(
    corpus: Corpus,
    question: str,
    who: str,
    *,
    order: str = "working-set",
    where: str | None = None,
    without: Sequence[str] = (),
    limit: int = 1,
) -> tuple[list[str], int]:
    """The samples an annotator is to answer next, and how many there are.

    Args:
        corpus: whose samples.
        question: its name.
        who: the annotator.
        order: one of `QUEUES`.
        where: a condition on the samples.
        without: ids that were skipped.
        limit: ids to give.

    Raises:
        CorpusError: the condition is wrong, or there is no such queue.
    """
    if order not in QUEUES:
        raise unknown("queue", order, QUEUES, CorpusError)
    asked, me = literal(question), literal(who)
    mine = f"SELECT id FROM answers WHERE question = {asked} AND who = {me}"
    others = f"SELECT id FROM answers WHERE question = {asked} AND who <> {me}"
    meant = {
        "others": f"id IN ({others}) AND id NOT IN ({mine})",
        "disagreements": f"id IN ({mine}) AND id IN ({others}) "
        f"AND id NOT IN (SELECT id FROM labels WHERE question = {asked})",
    }.get(order, f"id NOT IN ({mine})")
    wanted = f"({corpus.found(where)}\n) AND {meant}" if where and where.strip() else meant
    total = corpus.count(wanted)
    skipped = f"({wanted}) AND id NOT IN ({', '.join(map(literal, without))})" if without else wanted
    by = f"hash(id || {asked})" if order == "random" else None
    return corpus.frame(["id"], where=skipped, order=by, limit=limit)["id"].to_list(), total


# -------------------------------------------------------------------- agreement


@dataclass(frozen=True)
class Pair:
    """Two annotators."""

    first: str
    second: str
    samples: int
    """That both answered."""
    agreement: Measure
    kappa: Measure


@dataclass(frozen=True)
class AgreementReport:
    """How far those who answered a question agree."""

    question: str
    answered: dict[str, int]
    """Annotator -> samples."""
    shared: int
    """Samples that two or more answered."""
    agreement: Measure
    """Share of these on which all agree."""
    alpha: Measure
    """Krippendorff's, of all annotators."""
    pairs: list[Pair]
    """Every two annotators, with Cohen's kappa."""
    disagreed: int
    """Samples on which not all agree."""
    settled: int
    """Of these, how many were settled."""
    disagreements: list[dict[str, Any]] = field(default_factory=list)
    """`id`, `answers` (annotator -> answer), `settled` (the answer, or null); open ones first, up to 1,000."""


def agreement(corpus: Corpus, question: str) -> AgreementReport:
    """How far the annotators of a question agree, and where they don't.

    Raises:
        CorpusError: there is no such question.
    """
    question_of(corpus, question)
    frame = answers_to(corpus, question)
    by_sample: dict[str, dict[str, str]] = {}
    for sample, who, answer in frame.select("id", "who", "answer").iter_rows():
        by_sample.setdefault(sample, {})[who] = answer
    shared = {sample: said for sample, said in by_sample.items() if len(said) > 1}
    apart = {sample: said for sample, said in shared.items() if len(set(said.values())) > 1}
    labels = labels_of(corpus, question)
    listed = [{"id": i, "answers": dict(sorted(said.items())), "settled": labels.get(i)} for i, said in apart.items()]
    people = dict(sorted(frame["who"].value_counts().iter_rows()))
    return AgreementReport(
        question,
        people,
        len(shared),
        share(len(shared) - len(apart), len(shared)),
        alpha([list(said.values()) for said in shared.values()]),
        [_pair(first, second, shared.values()) for first, second in itertools.combinations(people, 2)],
        len(apart),
        sum(row["settled"] is not None for row in listed),
        sorted(listed, key=lambda row: (row["settled"] is not None, row["id"]))[:LISTED],
    )


def _pair(first: str, second: str, said: Iterable[dict[str, str]]) -> Pair:
    both = [(answers[first], answers[second]) for answers in said if first in answers and second in answers]
    return Pair(first, second, len(both), share(sum(a == b for a, b in both), len(both)), kappa(both))
