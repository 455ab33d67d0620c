"""The shapes that fine-tuning data comes in, and how a row of each becomes a sample.

Covers: Alpaca, ShareGPT, messages, prompt/completion, question/answer, preference pairs (as texts, turns or whole
conversations), judged conversations (KTO), prompts without an answer. What a shape does not know stays in metadata.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from curation.sample import Message, Sample

Row = dict[str, Any]

ROLE_NAMES = {
    "system": "system", "developer": "system",
    "user": "user", "human": "user", "prompter": "user",
    "assistant": "assistant", "gpt": "assistant", "chatgpt": "assistant", "bard": "assistant", "bing": "assistant",
    "model": "assistant", "bot": "assistant", "function_call": "assistant",
    "tool": "tool", "function": "tool", "observation": "tool", "function_response": "tool", "ipython": "tool",
}  # fmt: skip

MAPPABLE = (
    "instruction", "input", "output", "prompt", "completion", "question", "answer", "response", "messages",
    "conversations", "chosen", "rejected", "system", "tools", "label", "tags", "source",
)  # fmt: skip
"""Names that `--map NAME=COLUMN` can give to a column."""

RESERVED = frozenset(MAPPABLE) - {"source"} | {"history"}
"""Columns that mean something: a row that has one more than its plain pair is not plain."""


class Unreadable(Exception):
    """Why a row is no sample; ends in the `rejected` table."""


def to_sample(row: Row, source: str, fields: Mapping[str, str] | None = None) -> Sample:
    """The sample a row describes.

    Args:
        row: one row of a file.
        source: where it comes from, unless `fields` maps a column to `source`.
        fields: name from `MAPPABLE` -> column of the row that is meant by it.

    Raises:
        Unreadable: it has no known shape, or a value is not what its shape says.
    """
    if fields:
        row = renamed(row, fields)
    shape = shape_of(row)
    if shape is None:
        raise Unreadable(f"no known shape: it has {', '.join(map(str, row)) or 'no columns'}")
    used = {"tags"}
    messages, rejected = SHAPES[shape](row, used)
    if not any(m.content or m.tool_calls for m in messages):
        raise Unreadable("it has no text")
    label = row.get("label") if isinstance(row.get("label"), bool) else None
    tools = _json_text(row.get("tools"), "tools")
    metadata = {key: value for key, value in row.items() if key not in used}
    for known in ("tools", "label", "source"):
        if known in metadata and (known != "label" or label is not None) and (known != "source" or fields):
            del metadata[known]
    if row.get("input") and shape == "alpaca":
        metadata["input"] = row["input"]
    return Sample(
        messages=tuple(messages),
        rejected=None if rejected is None else tuple(rejected),
        label=label,
        tools=tools,
        shape=shape,
        source=str(row["source"]) if fields and "source" in fields and row.get("source") else source,
        tags=_tags(row, metadata),
        metadata=metadata,
    )


def shape_of(row: Row) -> str | None:
    """The name of the shape a row has, judged by its columns; null if none fits."""
    if row.get("chosen") is not None and row.get("rejected") is not None:
        return "preference"
    if isinstance(row.get("messages"), list):
        return "messages"
    if isinstance(row.get("conversations"), list):
        return "sharegpt"
    for shape, asked, answers in PAIRS:
        if _is_given(row, asked) and any(_is_given(row, a) for a in answers):
            return shape
    for shape, asked, answers in PAIRS:
        if _is_given(row, asked):
            return None if _may_hold_an_answer(row, asked, answers) else shape
    return None


PAIRS = (
    ("alpaca", "instruction", ("output", "response")),
    ("prompt-completion", "prompt", ("completion", "response")),
    ("question-answer", "question", ("answer", "response")),
)


def pair_columns(row: Row) -> tuple[str, str, str] | None:
    """(shape, column of the question, column of the answer) of a row that is nothing but a plain pair and metadata."""
    for shape, asked, answers in PAIRS:
        answer = next((a for a in answers if _is_given(row, a)), None)
        if _is_given(row, asked) and answer is not None:
            own = {asked, answer} | ({"input"} if shape == "alpaca" else set())
            return None if RESERVED & set(row) - own else (shape, asked, answer)
    return None


def _is_given(row: Row, name: str) -> bool:
    return row.get(name) is not None


def _may_hold_an_answer(row: Row, asked: str, answers: tuple[str, ...]) -> bool:
    # A prompt may stand alone, but not beside a column of text that we would quietly take for metadata.
    known = {asked, "input", "system", "tags", "tools", *answers}
    rest = [value for name, value in row.items() if name not in known]
    return any((isinstance(v, str) and " " in v.strip()) or (isinstance(v, list | dict) and v) for v in rest)


def _pair(row: Row, used: set[str], asked: str, answers: tuple[str, ...]) -> list[Message]:
    used.update((asked, "system", "history"))
    prompt = row[asked]
    answer_name = next((a for a in answers if _is_given(row, a)), None)
    turns = _system(row)
    history = row.get("history") or []
    if not isinstance(history, list | tuple):
        raise Unreadable("history is not a list of [question, answer] pairs")
    for old in history:
        if not isinstance(old, list | tuple) or len(old) != 2:
            raise Unreadable("history is not a list of [question, answer] pairs")
        turns += [Message("user", _text(old[0], "history")), Message("assistant", _text(old[1], "history"))]
    if isinstance(prompt, list):
        turns += [_message(m) for m in prompt]
    else:
        turns.append(Message("user", _text(prompt, asked)))
    if answer_name is not None:
        used.add(answer_name)
        answer = row[answer_name]
        turns += (
            [_message(m) for m in answer]
            if isinstance(answer, list)
            else [Message("assistant", _text(answer, answer_name))]
        )
    return turns


def _from_alpaca(row: Row, used: set[str]) -> tuple[list[Message], None]:
    used.update(("instruction", "input"))
    extra = row.get("input")
    if extra:
        row = {**row, "instruction": f"{_text(row['instruction'], 'instruction')}\n\n{_text(extra, 'input')}"}
    return _pair(row, used, "instruction", ("output", "response")), None


def _from_prompt_completion(row: Row, used: set[str]) -> tuple[list[Message], None]:
    return _pair(row, used, "prompt", ("completion", "response")), None


def _from_question_answer(row: Row, used: set[str]) -> tuple[list[Message], None]:
    return _pair(row, used, "question", ("answer", "response")), None


def _from_turns(name: str) -> Callable[[Row, set[str]], tuple[list[Message], None]]:
    def convert(row: Row, used: set[str]) -> tuple[list[Message], None]:
        used.update((name, "system"))
        return _with_system(row, [_message(m) for m in row[name]]), None

    return convert


def _from_preference(row: Row, used: set[str]) -> tuple[list[Message], list[Message]]:
    used.update(("chosen", "rejected", "system"))
    chosen, rejected = _answer(row["chosen"], "chosen"), _answer(row["rejected"], "rejected")
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
    if not prompt:
        raise Unreadable(
            "chosen and rejected have no prompt in common, and no prompt, instruction or question is given"
        )
    if not chosen and not rejected:
        raise Unreadable("chosen and rejected are the same conversation")
    if not chosen or not rejected:
        raise Unreadable(f"{'rejected' if chosen else 'chosen'} has no answer")
    return _with_system(row, prompt) + chosen, rejected


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
    for name in ("prompt", "instruction", "question", "messages", "conversations"):
        value = row.get(name)
        if value is None:
            continue
        used.add(name)
        if isinstance(value, list):
            return [_message(m) for m in value]
        text = _text(value, name)
        if name == "instruction" and row.get("input"):
            used.add("input")
            text = f"{text}\n\n{_text(row['input'], 'input')}"
        return [Message("user", text)]
    return None


SHAPES: dict[str, Callable[[Row, set[str]], tuple[list[Message], list[Message] | None]]] = {
    "alpaca": _from_alpaca,
    "sharegpt": _from_turns("conversations"),
    "messages": _from_turns("messages"),
    "prompt-completion": _from_prompt_completion,
    "question-answer": _from_question_answer,
    "preference": _from_preference,
}


def _answer(value: Any, name: str) -> list[Message]:
    if isinstance(value, list):
        return [_message(m) for m in value]
    if isinstance(value, dict):
        return [_message(value)]
    return [Message("assistant", _text(value, name))]


def _system(row: Row) -> list[Message]:
    system = row.get("system")
    return [Message("system", _text(system, "system"))] if system else []


def _with_system(row: Row, turns: list[Message]) -> list[Message]:
    system = _system(row)
    return turns if system == turns[:1] else system + turns


def _message(turn: Any) -> Message:
    if not isinstance(turn, dict):
        raise Unreadable(f"a turn is {_kind(turn)}, not an object with a role and a content")
    said = turn.get("role", turn.get("from"))
    role = ROLE_NAMES.get(said.lower()) if isinstance(said, str) else None
    if role is None:
        raise Unreadable(f"unknown role {said!r}")
    content = turn.get("content", turn.get("value"))
    calls, reasoning = turn.get("tool_calls"), turn.get("reasoning") or turn.get("reasoning_content") or None
    if said == "function_call":
        content, calls = None, content
    tool_calls = _json_text(calls, "tool_calls")
    if content is None and not tool_calls:
        raise Unreadable(f"a turn of the {role} has no content")
    if reasoning is not None and not isinstance(reasoning, str):
        raise Unreadable(f"reasoning is {_kind(reasoning)}, not text")
    return Message(role, "" if content is None else _parts(content), reasoning, tool_calls)


def _parts(content: Any) -> str:
    if not isinstance(content, list):
        return _text(content, "content")
    texts = [p.get("text") if isinstance(p, dict) and p.get("type", "text") == "text" else None for p in content]
    if any(not isinstance(t, str) for t in texts):
        raise Unreadable("a turn has a part that is not text (images and audio are not supported)")
    return "\n".join(t for t in texts if t is not None)


def _text(value: Any, name: str) -> str:
    if isinstance(value, str):
        return value
    if (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and math.isfinite(value)):
        return str(value)
    raise Unreadable(f"{name} is {_kind(value)}, not text")


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    return {"dict": "an object", "list": "a list", "bool": "a boolean"}.get(type(value).__name__, type(value).__name__)


def _json_text(value: Any, name: str) -> str | None:
    """One way to write the same list, so that what was exported comes back as the same sample; null if it is empty."""
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
        raise Unreadable(f"{name} is {_kind(value)}, not a list")
    try:
        return json.dumps(value, ensure_ascii=False, sort_keys=True) if value else None
    except RecursionError:
        raise Unreadable(f"{name} is nested too deeply") from None


def _tags(row: Row, metadata: Row) -> tuple[str, ...]:
    tags = row.get("tags")
    if isinstance(tags, list) and all(isinstance(t, str) for t in tags):
        return tuple(dict.fromkeys(tags))
    if tags is not None:
        metadata["tags"] = tags
    return ()


def renamed(row: Row, fields: Mapping[str, str]) -> Row:
    """The row with the mapped columns under the names they are mapped to."""
    if not fields:
        return row
    fields = {name: column for name, column in fields.items() if column in row}
    columns = set(fields.values())
    others = {_aside(key, fields): value for key, value in row.items() if key not in columns}
    return others | {name: row[column] for name, column in fields.items()}


def _aside(name: str, fields: Mapping[str, str]) -> str:
    # A column that the map gives the name of another one keeps its value, under a name that means nothing here.
    return f"original_{name}" if name in fields else name
