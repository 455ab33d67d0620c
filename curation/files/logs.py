"""The conversation of a log with its answers, and what the user made of each: judged, edited, asked for again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from curation.files.pairs import answered_pair, from_pair
from curation.files.turns import Row, Turn, Unreadable, judgement, role_of
from curation.files.verdicts import (
    EDITED,
    JUDGED,
    ORIGINAL,
    OTHERS,
    RATED,
    ROW_MARKS,
    is_feedback,
    joined,
    own_scale,
    together,
    verdict,
)
from curation.sample import Message

LABELS = ("label", "kto_tag")
"""Columns that judge the last answer of a row."""


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
    def unwanted(self) -> bool:
        """Whether it was left standing although the user disliked it, or liked another answer and not this one."""
        text = same(self.final)
        if any(o.verdict is False and same(o.final) == text for o in self.others):
            return True
        if self.edited is not None:
            return False
        return self.verdict is False or (self.verdict is None and any(o.verdict is True for o in self.others))


@dataclass(frozen=True)
class Conversation:
    """The turns of a log, with the row's own feedback at the last answer."""

    turns: list[Any]
    rest: Row
    """The columns that remain."""
    scale: float | None
    """The best rating, where the row says it."""


def conversation(row: Row) -> Conversation:
    """The conversation of a log.

    Raises:
        Unreadable: it has no turns.
    """
    turns, used = _turns(row)
    marks = {n: row[n] for n in row.keys() & ROW_MARKS if is_feedback(row, n) and row[n] is not None}
    scale = own_scale(row, None)
    if scale is not None and marks:
        marks["scale"] = scale
    label = together(judgement(row.get(n)) for n in LABELS)
    last = max((i for i, t in enumerate(turns) if role_of(t) == "assistant"), default=None)
    if last is not None:
        own = turns[last]
        turns[last] = {**own, **joined(marks, own)}
        if label is not None:
            turns[last]["label"] = label
    used |= {n for n in marks if n in EDITED or n in OTHERS}
    rest = {k: v for k, v in row.items() if k not in used and (k not in LABELS or judgement(v) is None)}
    rest.pop("label", None)
    return Conversation(turns, rest, scale if scale is not None and scale >= 1 else None)


def _turns(row: Row) -> tuple[list[Any], set[str]]:
    """The turns, and the columns they were read from."""
    if isinstance(row.get("mapping"), dict):
        return _main_branch(row), {"mapping", "current_node"}
    name = next((n for n in ("messages", "conversations") if isinstance(row.get(n), list)), None)
    if name is not None:
        return list(row[name]), {name}
    pair, used = answered_pair(row), set[str]()
    if pair is None:
        raise Unreadable("it has no turns")
    return [_as_turn(m) for m in from_pair(pair[0], row, used)], used


def _as_turn(message: Message) -> Row:
    said = {name: value for name, value in message._asdict().items() if value is not None}
    return {**said, **(message.more if isinstance(message, Turn) else {})}


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
            waiting = [
                _gathered(answer, [*answer.others, *map(_alone, waiting), *(o for a in waiting for o in a.others)])
            ]
        else:
            yield from waiting
            waiting = [answer]
    yield from waiting


def _alone(answer: Answer) -> Answer:
    return Answer(answer.final, answer.place, None if answer.edited is not None else answer.verdict)


def _answer(turn: Row, place: int, scale: float) -> Answer:
    content = _content(turn)
    clean = {k: v for k, v in turn.items() if k not in EDITED and k not in ORIGINAL and k not in OTHERS}
    edited = next((t for n in EDITED if (t := _content(turn.get(n))) and t.strip()), None)
    original = next((t for n in ORIGINAL if (t := _content(turn.get(n))) and t.strip()), None)
    if edited is None and original is not None:
        edited, clean = content, _with_content(clean, original)
    if edited is not None and same(edited) == same(clean):
        edited = None
    others = [o for n in OTHERS for o in (turn.get(n) if isinstance(turn.get(n), list) else ()) or ()]
    read = [_other(o, clean, place, scale) for o in others]
    return _gathered(Answer(clean, place, opinion(turn, scale), edited), [o for o in read if o is not None])


def opinion(turn: Any, scale: float) -> bool | None:
    """What the marks of a turn, or in its metadata, come to."""
    if not isinstance(turn, dict):
        return None
    about = turn.get("metadata")
    marks = joined(about if isinstance(about, dict) else {}, turn)
    scale = own_scale(turn, None) or scale
    verdicts = [verdict(n, marks[n], scale) for n in (*JUDGED, *RATED) if n in marks]
    return together((*verdicts, judgement(turn.get("label"))))


def _gathered(kept: Answer, others: list[Answer]) -> Answer:
    """An answer beside the others to its question: equal texts are one answer, with all that was said of them."""
    opinions = {same(kept.turn): [kept.verdict]}
    for other in others:
        opinions.setdefault(same(other.turn), []).append(other.verdict)
    first = {same(other.turn): other for other in reversed(others) if same(other.turn) != same(kept.turn)}
    read = [Answer(o.turn, o.place, together(opinions[text])) for text, o in reversed(first.items())]
    return Answer(kept.turn, kept.place, together(opinions[same(kept.turn)]), kept.edited, tuple(read))


def _other(other: Any, like: Row, place: int, scale: float) -> Answer | None:
    """Another answer to the same question; null where it has no text."""
    content = _content(other)
    if not content or not content.strip():
        return None
    key = "role" if "role" in like else "from"
    turn = {key: like.get(key), "value" if key == "from" else "content": content}
    return Answer(turn, place, opinion(other, scale))


def same(turn: Any) -> str:
    """The text of a turn, as far as two answers differ by it."""
    return (_content(turn) or "").strip()


def _content(turn: Any) -> str | None:
    content = turn.get("content", turn.get("value", turn.get("text"))) if isinstance(turn, dict) else turn
    if isinstance(content, dict) and isinstance(content.get("parts"), list):
        content = "\n".join(p for p in content["parts"] if isinstance(p, str))
    if isinstance(content, list):
        parts = [p.get("text") if isinstance(p, dict) else p for p in content]
        content = "\n".join(p for p in parts if isinstance(p, str)) or None
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
    turn: Row = {"role": role, "content": content, **_tree_marks(node)}
    if role_of(turn) == "assistant":
        beside = [n for other, n in nodes.items() if other != name and n.get("parent") == node.get("parent")]
        listed = turn.get("alternatives")
        turn["alternatives"] = [*listed] if isinstance(listed, list) else []
        turn["alternatives"] += [
            {"content": _content(_said(n)), **_tree_marks(n)}
            for n in beside
            if role_of({"role": _author(_said(n))}) == "assistant" and _content(_said(n))
        ]
    return turn


def _tree_marks(node: Row) -> Row:
    """The feedback on a node, wherever it stands: at the node, in its message, or in the metadata of that."""
    message = _said(node)
    about = message.get("metadata")
    return joined(node, about if isinstance(about, dict) else {}, message)


def _author(said: Row) -> Any:
    author = said.get("author")
    return author.get("role") if isinstance(author, dict) else said.get("role")
