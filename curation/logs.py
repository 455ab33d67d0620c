"""The conversation of a log with its answers, and what the user made of each: judged, edited, asked for again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from curation.pairs import answered_pair, from_pair
from curation.turns import Row, Unreadable, role_of
from curation.verdicts import (
    EDITED,
    JUDGED,
    ORIGINAL,
    OTHERS,
    RATED,
    ROW_MARKS,
    SCALES,
    is_feedback,
    own_scale,
    verdict,
)


@dataclass(frozen=True)
class Answer:
    """One answer of a log, and what the user made of it."""

    turn: Row
    place: int
    """Of the turn in the log, from 1 on."""
    verdict: bool | None = None
    edited: str | None = None
    others: tuple[Answer, ...] = field(default=())

    @property
    def final(self) -> Row:
        """The turn as the user left it."""
        return self.turn if self.edited is None else _with_content(self.turn, self.edited)

    @property
    def disliked(self) -> bool:
        """Whether it was left standing with a thumbs down."""
        return self.verdict is False and self.edited is None


def conversation(row: Row) -> tuple[list[Any], Row]:
    """The turns with the row's own feedback at the last answer, and the columns that remain."""
    if isinstance(row.get("mapping"), dict):
        return _main_branch(row), {k: v for k, v in row.items() if k not in ("mapping", "current_node")}
    name = next((n for n in ("messages", "conversations") if isinstance(row.get(n), list)), None)
    used: set[str] = set()
    if name is None:
        pair = answered_pair(row)
        if pair is None:
            raise Unreadable("it has no turns")
        turns: list[Any] = [{"role": m.role, "content": m.content} for m in from_pair(pair[0], row, used)]
    else:
        used.add(name)
        turns = list(row[name])
    marks = {n: row[n] for n in row.keys() & ROW_MARKS if is_feedback(row, n) and row[n] is not None}
    last = max((i for i, t in enumerate(turns) if role_of(t) == "assistant"), default=None)
    if marks and last is not None:
        scales = {n: row[n] for n in SCALES if n in row}
        turns[last] = {**scales, **marks, **turns[last]}
    used |= {n for n in marks if n in EDITED or n in OTHERS}
    return turns, {k: v for k, v in row.items() if k not in used | {"label"}}


def answers(turns: list[Any], scale: float) -> Iterator[Row | Answer]:
    """The turns in order, with answers read; of several answers in a row the last one was kept."""
    waiting: list[Answer] = []
    for place, turn in enumerate(turns, 1):
        if role_of(turn) != "assistant":
            yield from waiting
            waiting = []
            yield turn
            continue
        answer = _answer(turn, place, scale)
        if waiting and not any(
            a.turn.get("tool_calls") or a.turn.get("from") == "function_call" for a in (*waiting, answer)
        ):
            others = (*answer.others, *(_alone(a) for a in waiting), *(o for a in waiting for o in a.others))
            waiting = [Answer(answer.turn, place, answer.verdict, answer.edited, others)]
        else:
            yield from waiting
            waiting = [answer]
    yield from waiting


def _alone(answer: Answer) -> Answer:
    return Answer(answer.final, answer.place, None if answer.edited is not None else answer.verdict)


def _answer(turn: Row, place: int, scale: float) -> Answer:
    content = _content(turn)
    said = next((v for n in (*JUDGED, *RATED) if n in turn and (v := _on_turn(turn, n, scale)) is not None), None)
    clean = {k: v for k, v in turn.items() if k not in EDITED and k not in ORIGINAL and k not in OTHERS}
    edited = next((t for n in EDITED if (t := _content(turn.get(n)))), None)
    original = next((t for n in ORIGINAL if (t := _content(turn.get(n)))), None)
    if edited is None and original is not None:
        edited, clean = content, _with_content(clean, original)
    if edited == _content(clean):
        edited = None
    others = [o for n in OTHERS for o in (turn.get(n) if isinstance(turn.get(n), list) else ()) or ()]
    read = [_other(o, clean, place, scale) for o in others]
    return Answer(clean, place, said, edited, tuple(o for o in read if o is not None))


def _on_turn(turn: Row, name: str, scale: float) -> bool | None:
    return verdict(name, turn[name], own_scale(turn, None) or scale)


def _other(other: Any, like: Row, place: int, scale: float) -> Answer | None:
    """Another answer to the same question; null where it has no text or is the same."""
    content = _content(other)
    if not content or content == _content(like):
        return None
    marks = {n: other[n] for n in (*JUDGED, *RATED) if n in other} if isinstance(other, dict) else {}
    said = next((v for n in marks if (v := _on_turn(other, n, scale)) is not None), None)
    key = "role" if "role" in like else "from"
    return Answer({key: like.get(key), "value" if key == "from" else "content": content}, place, said)


def _content(turn: Any) -> str | None:
    content = turn.get("content", turn.get("value", turn.get("text"))) if isinstance(turn, dict) else turn
    if isinstance(content, dict) and isinstance(content.get("parts"), list):
        content = "\n".join(p for p in content["parts"] if isinstance(p, str))
    return content if isinstance(content, str) else None


def _with_content(turn: Row, content: str) -> Row:
    return {**turn, "value" if "value" in turn and "content" not in turn else "content": content}


def _main_branch(row: Row) -> list[Row]:
    """The turns from the root to the current node; other answers to the same question become alternatives."""
    nodes = {name: node for name, node in row["mapping"].items() if isinstance(node, dict)}
    at = row.get("current_node")
    if not isinstance(at, str) or at not in nodes:
        at = next((name for name in reversed(nodes) if _said(nodes[name]) and not nodes[name].get("children")), None)
    path: list[str] = []
    while isinstance(at, str) and at in nodes and at not in path:
        path.append(at)
        at = nodes[at].get("parent")
    turns = [turn for name in reversed(path) if (turn := _tree_turn(nodes, name)) is not None]
    if not turns:
        raise Unreadable("the tree has no turn with text")
    return turns


def _said(node: Row) -> Row:
    message = node.get("message")
    return message if isinstance(message, dict) else {}


def _tree_turn(nodes: dict[str, Row], name: str) -> Row | None:
    node, said = nodes[name], _said(nodes[name])
    role, content = _author(said), _content(said)
    if role is None or not content or not content.strip():
        return None
    turn: Row = {"role": role, "content": content}
    about = said.get("metadata")
    marks = {**node, **(about if isinstance(about, dict) else {}), **said}
    turn |= {n: marks[n] for n in (*JUDGED, *RATED) if marks.get(n) is not None}
    if role_of(turn) == "assistant":
        beside = [_said(n) for other, n in nodes.items() if other != name and n.get("parent") == node.get("parent")]
        turn["alternatives"] = [o for o in beside if role_of({"role": _author(o)}) == "assistant" and _content(o)]
    return turn


def _author(said: Row) -> Any:
    author = said.get("author")
    return author.get("role") if isinstance(author, dict) else said.get("role")
