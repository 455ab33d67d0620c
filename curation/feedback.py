"""User logs: conversations with thumbs, edits and regenerated answers become samples, by rules that can be read.

Covers: feedback on a turn or on the whole row (`thumbs`, `feedback`, `rating`, ...), the answer as the user rewrote it,
other answers to the same question (lists, or several answers in a row), trees of turns as OpenAI exports them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from curation.errors import IngestError
from curation.logs import Answer, answers, conversation
from curation.turns import Row, Unreadable, role_of

RULE, TURN = "feedback_rule", "feedback_turn"
"""Where a sample's metadata says which rule made it, and of which turn of the log (counted from 1)."""


class FeedbackRules(BaseModel):
    """What becomes of a conversation with feedback; every rule adds samples of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    thumbs: bool = Field(
        True,
        description="An answer with a thumbs up becomes a desirable sample (label true), one with a thumbs down an "
        "undesirable one (label false).",
    )
    edits: bool = Field(
        True, description="The answer as the user edited it is preferred to the original: a preference pair."
    )
    regenerations: bool = Field(
        True,
        description="The answer that was kept is preferred to each other answer to the same question, unless the "
        "thumbs say otherwise: a preference pair.",
    )
    conversations: bool = Field(
        True,
        description="A conversation without a thumbs down becomes an SFT sample; edited answers stand in it as edited.",
    )
    beginnings: bool = Field(
        False,
        description="Of a conversation with a thumbs down, what came before that question becomes an SFT sample.",
    )
    scale: int = Field(
        5,
        ge=2,
        description="The best rating of turns that do not say their own scale; the worst is 1. The upper quarter "
        "counts as a thumbs up, the lower quarter as a thumbs down.",
    )


def rules_from(settings: Mapping[str, Any] | None) -> FeedbackRules:
    """The rules with these settings (strings are converted, as `--rules` gives them).

    Raises:
        IngestError: there is no such rule, or a value is wrong.
    """
    try:
        return FeedbackRules(**dict(settings or {}))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            known = ", ".join(FeedbackRules.model_fields)
            raise IngestError(f"There is no feedback rule {name!r}.", fix=f"choose one of: {known}") from None
        raise IngestError(
            f"Feedback rule {name!r}: {first['msg']} (got {first['input']!r}).",
            fix=f"write it like: --rules {name}=false",
        ) from None


def expanded(row: Row, rules: FeedbackRules) -> list[tuple[str, Row]]:
    """(shape, row) of each sample that the rules make of a log; the rows say which rule made them, and of which turn.

    Raises:
        Unreadable: it has no turns, or no rule makes a sample of it.
    """
    turns, rest = conversation(row)
    said = list(answers(turns, rules.scale))
    made = [
        (shape, {**rest, **columns, RULE: rule, TURN: place})
        for rule, find in MAKERS.items()
        if getattr(rules, rule)
        for shape, place, columns in find(said)
    ]
    if not made:
        raise Unreadable("no feedback rule makes a sample of it")
    return made


Made = tuple[str, int, Row]
"""(shape of the row, turn it is made of, columns)."""


def _final(said: list[Row | Answer], upto: int | None = None) -> list[Row]:
    return [t.final if isinstance(t, Answer) else t for t in said[:upto]]


def _by_thumbs(said: list[Row | Answer]) -> Iterator[Made]:
    for at, answer in enumerate(said):
        for judged in (answer, *answer.others) if isinstance(answer, Answer) else ():
            if judged.verdict is not None:
                yield "messages", judged.place, {"messages": [*_final(said, at), judged.turn], "label": judged.verdict}


def _by_edits(said: list[Row | Answer]) -> Iterator[Made]:
    for at, answer in enumerate(said):
        if at and isinstance(answer, Answer) and answer.edited is not None:
            yield _preferred(said, at, answer.place, answer.final, answer.turn)


def _by_regenerations(said: list[Row | Answer]) -> Iterator[Made]:
    for at, kept in enumerate(said):
        if not at or not isinstance(kept, Answer):
            continue
        for other in kept.others:
            opinion = True if kept.edited is not None else kept.verdict
            if other.verdict is True and opinion is not True:
                yield _preferred(said, at, other.place, other.turn, kept.turn)
            elif opinion is not False and (other.verdict is not True or kept.edited is not None):
                yield _preferred(said, at, other.place, kept.final, other.turn)


def _preferred(said: list[Row | Answer], at: int, place: int, chosen: Row, rejected: Row) -> Made:
    return "preference", place, {"prompt": _final(said, at), "chosen": [chosen], "rejected": [rejected]}


def _by_conversations(said: list[Row | Answer]) -> Iterator[Made]:
    answers = [a for a in said if isinstance(a, Answer)]
    if answers and not any(a.disliked for a in answers):
        yield "messages", answers[-1].place, {"messages": _final(said)}


def _by_beginnings(said: list[Row | Answer]) -> Iterator[Made]:
    first = next((at for at, a in enumerate(said) if isinstance(a, Answer) and a.disliked), 0)
    before = [at for at, a in enumerate(said[:first]) if isinstance(a, Answer)]
    asked = max((at for at in range(first) if role_of(said[at]) == "user"), default=0)
    before = [at for at in before if at < asked]
    last = said[before[-1]] if before else None
    if isinstance(last, Answer):
        yield "messages", last.place, {"messages": _final(said, before[-1] + 1)}


MAKERS: dict[str, Callable[[list[Row | Answer]], Iterator[Made]]] = {
    "thumbs": _by_thumbs,
    "edits": _by_edits,
    "regenerations": _by_regenerations,
    "conversations": _by_conversations,
    "beginnings": _by_beginnings,
}
"""Rule -> what it makes of a conversation."""
