"""Turns of a conversation as files write them, and the values in a row that are text, lists or judgements.

Covers: roles and content under the names of ShareGPT and OpenAI, tool calls of either, reasoning beside the content or
as a part of it. What else a turn says (a name, the id of the call it answers, a time) is kept beside the message.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from curation.sample import Message

Row = dict[str, Any]

ROLE_NAMES = {
    "system": "system", "developer": "system",
    "user": "user", "human": "user", "prompter": "user",
    "assistant": "assistant", "gpt": "assistant", "chatgpt": "assistant", "bard": "assistant", "bing": "assistant",
    "model": "assistant", "bot": "assistant", "function_call": "assistant", "tool_call": "assistant",
    "tool": "tool", "function": "tool", "observation": "tool", "function_response": "tool", "ipython": "tool",
    "tool_response": "tool",
}  # fmt: skip

CALLERS = ("function_call", "tool_call")
"""Roles whose content is a call."""
REASONINGS = ("reasoning", "reasoning_content", "thinking")
READ = frozenset(("role", "from", "content", "value", "tool_calls", *REASONINGS))
"""Keys of a turn that become fields of a message."""


class Unreadable(Exception):
    """Why a row is no sample; ends in the `rejected` table."""


class Turn(Message):
    """A message and the other keys of its turn."""

    more: Row


def message(turn: Any) -> Message:
    """The message a turn describes; a `Turn` where it says more than a message holds.

    Raises:
        Unreadable: it has no known role, no content, or a value that is not text.
    """
    if not isinstance(turn, dict):
        raise Unreadable(f"a turn is {kind(turn)}, not an object with a role and a content")
    said = turn.get("role", turn.get("from"))
    role = role_of(turn)
    if role is None:
        raise Unreadable(f"unknown role {said!r}")
    content, calls = turn.get("content", turn.get("value")), turn.get("tool_calls")
    more = {key: value for key, value in turn.items() if key not in READ} if len(turn) > 2 else {}
    if said in CALLERS:
        content, calls = None, content
    elif not calls and isinstance(turn.get("function_call"), dict):
        calls = more.pop("function_call")
    tool_calls = json_text(calls, "tool_calls")
    if content is None and not tool_calls:
        raise Unreadable(f"a turn of the {role} has no content")
    spoken, thought = _parts(content)
    read = role, spoken, _reasoning(turn, thought), tool_calls
    more = {key: value for key, value in more.items() if value is not None}
    if not more:
        return Message(*read)
    kept = Turn(*read)
    kept.more = more
    return kept


def role_of(turn: Any) -> str | None:
    """The role of a turn; null if it has none that is known."""
    said = turn.get("role", turn.get("from")) if isinstance(turn, dict) else None
    return ROLE_NAMES.get(said.lower()) if isinstance(said, str) else None


def details(messages: Sequence[Message]) -> dict[str, Row]:
    """What turns said beyond their messages, by the place of the turn from 0 on (as text, as JSON wants it)."""
    return {str(place): m.more for place, m in enumerate(messages) if isinstance(m, Turn)}


def plain(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The messages alone."""
    return tuple(Message(*m) if isinstance(m, Turn) else m for m in messages)


def _reasoning(turn: Row, thought: str | None) -> str | None:
    reasoning = next((turn[name] for name in REASONINGS if turn.get(name)), None) if len(turn) > 2 else None
    if reasoning is not None and not isinstance(reasoning, str):
        raise Unreadable(f"reasoning is {kind(reasoning)}, not text")
    return reasoning or thought


def _parts(content: Any) -> tuple[str, str | None]:
    """The text of a content, and the reasoning among its parts."""
    if content is None:
        return "", None
    if not isinstance(content, list):
        return text(content, "content"), None
    said: dict[str, list[Any]] = {"text": [], "thinking": []}
    for part in content:
        name = part.get("type", "text") if isinstance(part, dict) else None
        said["thinking" if name in REASONINGS else "text"].append(
            part.get(name) if name in ("text", *REASONINGS) else None
        )
    if any(not isinstance(t, str) for texts in said.values() for t in texts):
        raise Unreadable("a turn has a part that is not text (images and audio are not supported)")
    return "\n".join(said["text"]), "\n".join(said["thinking"]) or None


def text(value: Any, name: str) -> str:
    """A text, or a number as text.

    Raises:
        Unreadable: it is neither.
    """
    if isinstance(value, str):
        return value
    if (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and math.isfinite(value)):
        return str(value)
    raise Unreadable(f"{name} is {kind(value)}, not text")


def kind(value: Any) -> str:
    """What a value is, in words."""
    if value is None:
        return "null"
    return {"dict": "an object", "list": "a list", "bool": "a boolean"}.get(type(value).__name__, type(value).__name__)


def json_text(value: Any, name: str) -> str | None:
    """One way to write the same list, so that what was exported comes back as the same sample; null if it is empty.

    Raises:
        Unreadable: it is no list, object or text.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.strip() else None
        except ValueError:
            return str(value)
        except RecursionError:
            raise Unreadable(f"{name} is nested too deeply") from None
    if value is None:
        return None
    if not isinstance(value, list | dict):
        raise Unreadable(f"{name} is {kind(value)}, not a list")
    try:
        return json.dumps(value, ensure_ascii=False, sort_keys=True) if value else None
    except RecursionError:
        raise Unreadable(f"{name} is nested too deeply") from None


def judgement(value: Any) -> bool | None:
    """A KTO label as its writers put it: true or false, 1 or 0, `desirable` or `undesirable`; null if it is none."""
    if isinstance(value, str):
        return {"true": True, "1": True, "desirable": True, "false": False, "0": False, "undesirable": False}.get(
            value.strip().lower()
        )
    return bool(value) if isinstance(value, bool | int | float) and value in (0, 1) else None


def system_turn(row: Row) -> list[Message]:
    """The `system` column as a turn, where there is one."""
    system = row.get("system")
    return [Message("system", text(system, "system"))] if system else []


def with_system(row: Row, turns: list[Message]) -> list[Message]:
    """The turns after the `system` column, unless they begin with it."""
    system = system_turn(row)
    return turns if system == turns[:1] else system + turns
