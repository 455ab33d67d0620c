"""Rows that say which answer is better: chosen and rejected, two answers and a verdict, several answers and scores."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from curation.files.pairs import with_input
from curation.files.turns import Row, Unreadable, kind, message, text, with_system
from curation.sample import Message

PROMPTS = ("prompt", "instruction", "question", "messages", "conversations")
"""Columns that may hold what both sides answer."""

COMPARED = (
    ("output_1", "output_2"), ("response_1", "response_2"), ("response1", "response2"), ("answer_1", "answer_2"),
    ("response_a", "response_b"), ("answer_a", "answer_b"), ("conversation_a", "conversation_b"),
)  # fmt: skip
VERDICTS = ("preference", "winner", "preferred", "overall_preference")
SIDES = {
    "1": 0, "a": 0, "first": 0, "model_a": 0, "response_a": 0, "answer_a": 0, "output_1": 0, "response_1": 0,
    "2": 1, "b": 1, "second": 1, "model_b": 1, "response_b": 1, "answer_b": 1, "output_2": 1, "response_2": 1,
}  # fmt: skip

ANSWERS = ("responses", "completions", "answers", "outputs", "candidates")
SCORES = ("scores", "ratings", "rewards", "overall_scores")
RANKS = ("ranks", "ranking", "rankings")
"""The first is 1 (or 0), the next one higher."""

SPEAKER = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant):[ \t]?")


def from_preference(row: Row, used: set[str]) -> tuple[list[Message], list[Message]]:
    """The chosen conversation and the rejected turns of a row with `chosen` and `rejected`.

    Raises:
        Unreadable: they have no prompt in common, do not differ, or a value is no text or turn.
    """
    used.update(("chosen", "rejected", "system"))
    chosen, rejected = _sides(row)
    asked: set[str] = set()
    prompt = _prompt(row, asked)
    shared = next((i for i, (a, b) in enumerate(zip(chosen, rejected, strict=False)) if a != b), None)
    shared = min(len(chosen), len(rejected)) if shared is None else shared
    repeats = [_repeated(prompt, turns) for turns in (chosen, rejected)]
    whole = any(m.role == "user" for m in chosen[:shared])
    if prompt is None or all(repeats) or (whole and not any(repeats)):
        # A prompt that whole conversations do not repeat is said otherwise there: it stays in metadata.
        asked = asked if all(repeats) else set()
        prompt, chosen, rejected = chosen[:shared], chosen[shared:], rejected[shared:]
    elif any(repeats):
        prompt = chosen[: repeats[0]] or rejected[: repeats[1]]
        chosen, rejected = chosen[repeats[0] :], rejected[repeats[1] :]
    used |= asked
    _check(prompt, chosen, rejected)
    return with_system(row, prompt) + chosen, rejected


def _check(prompt: list[Message], chosen: list[Message], rejected: list[Message]) -> None:
    if not prompt:
        raise Unreadable(
            "chosen and rejected have no prompt in common, and no prompt, instruction or question is given"
        )
    if chosen == rejected:
        raise Unreadable("chosen and rejected are the same conversation")
    if not chosen or not rejected:
        raise Unreadable(f"{'rejected' if chosen else 'chosen'} has no answer")


def _sides(row: Row) -> tuple[list[Message], list[Message]]:
    both = row["chosen"], row["rejected"]
    if all(isinstance(side, str) and side.lstrip().startswith("Human:") for side in both):
        return transcript(both[0]), transcript(both[1])
    return _answer(both[0], "chosen"), _answer(both[1], "rejected")


def transcript(said: str) -> list[Message]:
    """The turns of a text in which `Human:` and `Assistant:` begin paragraphs."""
    found = list(SPEAKER.finditer(said))
    ends = [*(m.start() for m in found[1:]), len(said)]
    roles = {"Human": "user", "Assistant": "assistant"}
    return [Message(roles[m[1]], said[m.end() : end].strip()) for m, end in zip(found, ends, strict=True)]


def _repeated(prompt: list[Message] | None, turns: list[Message]) -> int:
    """How many of the first turns only repeat the prompt."""
    if not prompt:
        return 0
    if turns[: len(prompt)] == prompt:
        return len(prompt)
    first = next((i for i, m in enumerate(turns) if m.role != "system"), len(turns))
    said = turns[first].content.strip() if first < len(turns) and turns[first].role == "user" else None
    return first + 1 if [(m.role, m.content.strip()) for m in prompt] == [("user", said)] else 0


def _prompt(row: Row, used: set[str]) -> list[Message] | None:
    name = next((name for name in PROMPTS if row.get(name) is not None), None)
    if name is None:
        return None
    used.add(name)
    value = row[name]
    if isinstance(value, list):
        return [message(m) for m in value]
    if name == "instruction" and row.get("input"):
        used.add("input")
        return [Message("user", with_input(row))]
    said = text(value, name)
    return transcript(said) if said.lstrip().startswith("Human:") else [Message("user", said)]


def _answer(value: Any, name: str) -> list[Message]:
    if isinstance(value, list):
        return [message(m) for m in value]
    if isinstance(value, dict):
        return [message(value)]
    return [Message("assistant", text(value, name))]


# -------------------------------------------------------------------- two answers and a verdict


def compared_columns(row: Row) -> tuple[str, str, str] | None:
    """The columns of two answers and of the verdict on them; null if the row has no such three."""
    for first, second in COMPARED:
        if row.get(first) is not None and row.get(second) is not None:
            verdict = next((name for name in VERDICTS if row.get(name) is not None), None)
            return None if verdict is None else (first, second, verdict)
    return None


def from_compared(row: Row) -> list[Row]:
    """The row with `chosen` and `rejected` for its two answers; which of them was preferred stays in metadata.

    A number says 1 for the first and 2 for the second, and in between how sure the judge was; an `overall_preference`
    is negative for the first and positive for the second.

    Raises:
        Unreadable: it is a tie, or the verdict is none that is known.
    """
    columns = compared_columns(row)
    if columns is None:
        raise Unreadable("there are not two answers and a verdict")
    first, second, verdict = columns
    better = _side(row[verdict], middle=0.0 if verdict == "overall_preference" else 1.5)
    names = (first, second) if better == 0 else (second, first)
    rest = {name: value for name, value in row.items() if name not in (first, second)}
    return [rest | {"chosen": row[names[0]], "rejected": row[names[1]]}]


def _side(verdict: Any, middle: float) -> int:
    if isinstance(verdict, str):
        side = SIDES.get(verdict.strip().lower().replace(" ", "_"))
        if side is not None:
            return side
        if "tie" in verdict.lower():
            raise Unreadable("the two answers are a tie")
        try:
            verdict = float(verdict)
        except ValueError:
            raise Unreadable(f"the verdict {verdict[:40]!r} names neither answer") from None
    if isinstance(verdict, bool) or not isinstance(verdict, int | float) or not math.isfinite(verdict):
        raise Unreadable(f"the verdict is {kind(verdict)}, which names neither answer")
    if verdict == middle:
        raise Unreadable("the two answers are a tie")
    if middle and not 1 <= verdict <= 2:
        raise Unreadable(f"the verdict {verdict:g} is not between 1 (the first answer) and 2 (the second)")
    return int(verdict > middle)


# -------------------------------------------------------------------- several answers and scores


def ranked_columns(row: Row) -> tuple[str, str | None] | None:
    """The column of several answers, and of their scores or ranks (null if each answer says its own)."""
    answers = next((name for name in ANSWERS if isinstance(row.get(name), list)), None)
    if answers is None or not row[answers] or not any(row.get(name) is not None for name in PROMPTS):
        return None
    scores = next((name for name in (*SCORES, *RANKS) if isinstance(row.get(name), list)), None)
    own = all(isinstance(a, dict) and _own_score(a) is not None for a in row[answers])
    return (answers, scores) if scores or own else None


def from_ranked(row: Row) -> list[Row]:
    """A row with `chosen` and `rejected` for each answer that is worse than the best one.

    Raises:
        Unreadable: there is no best answer, or not one score for each.
    """
    columns = ranked_columns(row)
    if columns is None:
        raise Unreadable("there are not several answers with scores")
    name, scored = columns
    answers = [_said(a) for a in row[name]]
    scores = [_own_score(a) for a in row[name]] if scored is None else row[scored]
    points = _points(scores, len(answers), lower_is_better=scored in RANKS)
    best = max(range(len(points)), key=points.__getitem__)
    if points.count(points[best]) == len(points):
        raise Unreadable("all answers have the same score")
    rest = {key: value for key, value in row.items() if key not in columns}
    return [
        rest
        | {"chosen": answers[best], "rejected": answers[other]}
        | {"chosen_score": scores[best], "rejected_score": scores[other]}
        for other in range(len(points))
        if points[other] < points[best] and answers[other] != answers[best]
    ]


def _points(scores: Sequence[Any], size: int, *, lower_is_better: bool) -> list[float]:
    if len(scores) != size:
        raise Unreadable(f"there are {size} answers and {len(scores)} scores")
    points = []
    for score in scores:
        try:
            point = float(score)
        except (TypeError, ValueError):
            raise Unreadable(f"a score is {kind(score)}, not a number") from None
        if not math.isfinite(point):
            raise Unreadable("a score is not a number")
        points.append(-point if lower_is_better else point)
    return points


def _said(answer: Any) -> Any:
    """The text or the turns of one of several answers."""
    if not isinstance(answer, dict) or "role" in answer or "from" in answer:
        return answer
    return next((answer[n] for n in ("text", "content", "response", "answer", "output") if n in answer), None)


def _own_score(answer: Row) -> Any:
    return next((answer[n] for n in ("score", "overall_score", "rating", "reward") if answer.get(n) is not None), None)
