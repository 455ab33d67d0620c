"""The commands that search, and those that take answers of people: search, annotate, agreement, teach."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from curation.errors import CorpusError, OperatorError
from studio.commands.performing import CORPUS, JSON, WHERE, facts, perform

IDS = click.option("--id", "ids", multiple=True, metavar="ID", help="Or this sample; may be given several times")
AS = click.option("--as", "who", metavar="NAME", help="Who answers; the name of the user by default")
EMBEDDING = click.option("--embedding", metavar="NAME", help="Embedding to compare by; the latest one by default")


@click.command()
@CORPUS
@click.argument("query", default="")
@click.option("--regex", is_flag=True, help="The query is a regular expression (RE2)")
@click.option("--meaning", is_flag=True, help="What means nearly the same, by an embedding")
@click.option("--like", multiple=True, metavar="ID", help="What is like this sample; may be given several times")
@click.option("--case", is_flag=True, help="Capital and small letters differ")
@EMBEDDING
@WHERE
@click.option("--limit", type=click.IntRange(min=1), default=10, show_default=True, help="Samples to show")
@JSON
def search(
    corpus: Path,
    query: str,
    regex: bool,
    meaning: bool,
    like: tuple[str, ...],
    case: bool,
    embedding: str | None,
    where: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """Find samples by a text, a regular expression, what it means, or samples that they are like."""
    from curation.corpus import Corpus
    from curation.searching import Kind, Query
    from studio.commands.printing import print_json, print_table, shortened

    if regex + meaning + bool(like) > 1:
        raise OperatorError("A search has one way only.", fix="give one of --regex, --meaning and --like")
    kind = Kind.REGEX if regex else Kind.MEANING if meaning or like else Kind.TEXT
    wanted = Query(query, kind, like, case, embedding)
    if not wanted:
        raise OperatorError("There is nothing to look for.", fix="give a text, or --like ID")
    total, rows = _found(Corpus(corpus), wanted, where, limit)
    if as_json:
        print_json({"count": total, "samples": rows})
        return
    click.echo(f"the {len(rows)} nearest samples" if wanted.by_meaning else f"{total:,} samples")
    for row in rows:
        row.update(instruction=shortened(row["instruction"], 44), response=shortened(row["response"], 44))
    shown = ["id", "instruction", "response", "source"]
    print_table(rows, ["similarity", *shown] if wanted.by_meaning else shown)


def _found(corpus: Any, query: Any, where: str | None, limit: int) -> tuple[int, list[dict[str, Any]]]:
    from curation.searching import both
    from curation.searching import search as verb

    found = verb(corpus, query, where=where, most=limit)
    columns = ["id", "instruction", "response", "source"]
    rows = corpus.frame(columns, where=both(where, found.condition), limit=limit)
    if found.ids is None or found.similarity is None:
        return found.total, rows.to_dicts()
    of_id = {row["id"]: row for row in rows.iter_rows(named=True)}
    nearest = zip(found.ids, found.similarity, strict=True)
    return found.total, [{"similarity": round(cosine, 4), **of_id[i]} for i, cosine in nearest]


@click.command()
@CORPUS
@click.argument("question")
@click.argument("answer", required=False)
@AS
@WHERE
@IDS
@click.option("--answers", metavar="A,B,...", help="Make the question, with these 2 to 9 answers")
@click.option("--text", default="", help="What annotators read")
@click.option("--remove", is_flag=True, help="Take your answer back instead")
@click.option("--settle", is_flag=True, help="Decide what annotators disagree on")
@JSON
def annotate(
    corpus: Path,
    question: str,
    answer: str | None,
    who: str | None,
    where: str | None,
    ids: tuple[str, ...],
    answers: str | None,
    text: str,
    remove: bool,
    settle: bool,
    as_json: bool,
) -> None:
    """Answer a question about samples, under your name; changing an answer keeps the one before."""
    from curation.annotating import annotate as verb
    from curation.annotating import ask
    from curation.corpus import Corpus

    if (answer is None) == (not remove) and not (answers and not ids and where is None):
        raise CorpusError("Give an answer, or take yours back.", fix="winnow annotate CORPUS QUESTION ANSWER --id ID")
    opened = Corpus(corpus)

    def work(progress: Any) -> Any:
        made = ask(opened, question, answers.split(","), text=text, who=who) if answers else None
        if made is not None and answer is None and not remove:
            return made
        return verb(opened, question, answer, where=where, ids=ids or None, who=who, settles=settle)

    perform(opened.path, as_json, work, _annotated)


def _annotated(report: Any) -> None:
    from curation.annotating import Question

    show = facts("{r.name}", "text", "answers") if isinstance(report, Question) else facts("{r.question}", *ANNOTATED)
    show(report)


ANNOTATED = ("answer", "who", "changed", "unchanged")


@click.command()
@CORPUS
@click.argument("question")
@click.option("--limit", type=click.IntRange(min=0), default=20, show_default=True, help="Disagreements to show")
@JSON
def agreement(corpus: Path, question: str, limit: int, as_json: bool) -> None:
    """How far annotators agree (Cohen's kappa, Krippendorff's alpha), and where they don't."""
    from curation.annotating import agreement as verb
    from curation.corpus import Corpus
    from studio.commands.printing import as_dict, print_facts, print_json, print_table

    report = verb(Corpus(corpus), question)
    if as_json:
        print_json(as_dict(report))
        return
    told = {f"kappa {pair.first}, {pair.second}": _measure(pair.kappa) for pair in report.pairs}
    print_facts(
        question,
        {
            "answered": report.answered,
            "by two or more": report.shared,
            "agreement": _measure(report.agreement),
            **told,
            "Krippendorff's alpha": _measure(report.alpha),
            "disagreements": f"{report.disagreed:,}, of these {report.settled:,} settled",
        },
    )
    if report.disagreements and limit:
        click.echo()
        print_table([_disagreement(row) for row in report.disagreements[:limit]])


def _disagreement(row: dict[str, Any]) -> dict[str, Any]:
    said: Iterable[str] = (f"{who}: {answer}" for who, answer in row["answers"].items())
    return {"id": row["id"], "answers": ", ".join(said), "settled": row["settled"]}


def _measure(measure: Any) -> str:
    if measure.value is None:
        return f"- ({measure.reason})"
    interval = f" ({measure.low:.2f} to {measure.high:.2f})" if measure.low is not None else ""
    return f"{measure.value:.2f}{interval}"


@click.command()
@CORPUS
@click.argument("concept")
@click.option("--yes", multiple=True, metavar="ID", help="A sample that is of it; may be given several times")
@click.option("--no", multiple=True, metavar="ID", help="A sample that is not; may be given several times")
@click.option("--text", default="", help="What the concept is, in words: the first samples are proposed by it")
@EMBEDDING
@AS
@JSON
def teach(
    corpus: Path,
    concept: str,
    yes: tuple[str, ...],
    no: tuple[str, ...],
    text: str,
    embedding: str | None,
    who: str | None,
    as_json: bool,
) -> None:
    """Teach a concept by yes/no answers; says how sure it is and what to ask next."""
    from curation.corpus import Corpus
    from curation.teaching import teach as verb

    opened = Corpus(corpus)
    perform(
        opened.path,
        as_json,
        lambda progress: verb(opened, concept, yes=yes, no=no, text=text, embedding=embedding, who=who),
        _taught,
    )


def _taught(report: Any) -> None:
    from studio.commands.printing import print_facts, print_table

    sure = report.sureness
    told = {
        name.upper() if name == "auc" else name: f"{value:.2f} ({interval[0]:.2f} to {interval[1]:.2f})"
        for name, value, interval in (
            ("auc", sure.auc, sure.auc_interval), ("accuracy", sure.accuracy, sure.accuracy_interval),
        )
        if value is not None
    }  # fmt: skip
    print_facts(report.concept, {"answered": report.answered, "yes": report.yes, "no": report.no})
    print_facts("foretold from the other answers", told or {"-": sure.reason})
    print_facts("ask next", {})
    print_table([{"id": p.id, "probability of a yes": p.probability, "why": p.why} for p in report.next])
