"""User logs: conversations with thumbs, edits and regenerated answers become samples, by rules that can be read.

Covers: feedback on a turn or on the whole row (`thumbs`, `feedback`, `rating`, ...), the answer as the user rewrote it,
other answers to the same question (lists, or several answers in a row), trees of turns as OpenAI exports them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from curation.errors import IngestError
from curation.files.logs import Answer, answers, conversation, opinion, same
from curation.files.turns import Row, Unreadable, role_of

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
        description="A conversation without a thumbs down becomes an SFT sample; edited answers stand in it as edited. "
        "Where it is the same text as a desirable sample, that one stands for both.",
    )
    beginnings: bool = Field(
        False,
        description="Of a conversation with a thumbs down, what came before that question becomes an SFT sample, "
        "unless a desirable sample is the same text.",
    )
    afterwards: bool = Field(
        False,
        description="Answers after one that was left with a thumbs down become desirable samples and preference pairs "
        "too. Their prompts hold the disliked answer, and an export as conversations would teach it.",
    )
    scale: int = Field(
        5,
        ge=1,
        description="The best rating of turns that do not say their own scale; the worst is 1. The upper quarter "
        "counts as a thumbs up, the lower quarter and 0 as a thumbs down. 1 where feedback is 0 or 1.",
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
    log = conversation(row)
    if log.scale is not None:
        rules = rules.model_copy(update={"scale": log.scale})
    said = list(answers(log.turns, rules.scale))
    made = [
        (shape, {**log.rest, **columns, RULE: rule, TURN: place})
        for rule, find in MAKERS.items()
        if getattr(rules, rule)
        for shape, place, columns in find(said, rules)
    ]
    liked = [columns["messages"] for _, columns in made if columns.get("label") is True]
    made = [(shape, c) for shape, c in made if "label" in c or c.get("messages") not in liked]
    if not made:
        raise Unreadable("no feedback rule makes a sample of it")
    return made


Made = tuple[str, int, Row]
"""(shape of the row, turn it is made of, columns)."""


def _final(said: list[Row | Answer], upto: int | None = None) -> list[Row]:
    return [t.final if isinstance(t, Answer) else t for t in said[:upto]]


def _good(said: list[Row | Answer], rules: FeedbackRules) -> int:
    """How many turns there are before and at the first unwanted answer; what comes later has that in its prompt."""
    first = _first_unwanted(said, rules)
    return len(said) if first is None or rules.afterwards else first + 1


def _first_unwanted(said: list[Row | Answer], rules: FeedbackRules) -> int | None:
    for at, turn in enumerate(said):
        if isinstance(turn, Answer):
            if turn.unwanted:
                return at
        elif opinion(turn, rules.scale) is False:  # on a question: it may mean the answer before or after it
            return max((i for i in range(at) if isinstance(said[i], Answer)), default=at)
    return None


def _by_thumbs(said: list[Row | Answer], rules: FeedbackRules) -> Iterator[Made]:
    good = _good(said, rules)
    for at, answer in enumerate(said):
        for judged in (answer, *answer.others) if isinstance(answer, Answer) else ():
            superseded = judged.verdict and judged.edited is not None
            if judged.verdict is False or (judged.verdict and not superseded and at < good):
                yield "messages", judged.place, {"messages": [*_final(said, at), judged.turn], "label": judged.verdict}


def _by_edits(said: list[Row | Answer], rules: FeedbackRules) -> Iterator[Made]:
    for at, answer in enumerate(said[: _good(said, rules)]):
        if at and isinstance(answer, Answer) and answer.edited is not None and not answer.unwanted:
            yield _preferred(said, at, answer.place, answer.final, answer.turn)


def _by_regenerations(said: list[Row | Answer], rules: FeedbackRules) -> Iterator[Made]:
    for at, kept in enumerate(said[: _good(said, rules)]):
        if not at or not isinstance(kept, Answer):
            continue
        if not kept.unwanted:
            others = [o for o in kept.others if o.verdict is not True or kept.edited is not None]
            for other in (o for o in others if same(o.turn) != same(kept.final)):
                yield _preferred(said, at, other.place, kept.final, other.turn)
        elif kept.edited is None:
            for other in (o for o in kept.others if o.verdict is True):
                for worse in (kept, *(o for o in kept.others if o.verdict is not True)):
                    yield _preferred(said, at, other.place, other.turn, worse.turn)


def _preferred(said: list[Row | Answer], at: int, place: int, chosen: Row, rejected: Row) -> Made:
    return "preference", place, {"prompt": _final(said, at), "chosen": [chosen], "rejected": [rejected]}


def _by_conversations(said: list[Row | Answer], rules: FeedbackRules) -> Iterator[Made]:
    answers = [a for a in said if isinstance(a, Answer)]
    if answers and _first_unwanted(said, rules) is None:
        yield "messages", answers[-1].place, {"messages": _final(said)}


def _by_beginnings(said: list[Row | Answer], rules: FeedbackRules) -> Iterator[Made]:
    first = _first_unwanted(said, rules) or 0
    asked = max((at for at in range(first) if role_of(said[at]) == "user"), default=0)
    before = [at for at, a in enumerate(said[:asked]) if isinstance(a, Answer)]
    last = said[before[-1]] if before else None
    if isinstance(last, Answer):
        yield "messages", last.place, {"messages": _final(said, before[-1] + 1)}


MAKERS: dict[str, Callable[[list[Row | Answer], FeedbackRules], Iterator[Made]]] = {
    "thumbs": _by_thumbs,
    "edits": _by_edits,
    "regenerations": _by_regenerations,
    "conversations": _by_conversations,
    "beginnings": _by_beginnings,
}
"""Rule -> what it makes of a conversation."""
