"""What a sample is: a conversation, with what was rejected or how it was judged, where it came from, and its id.

Equal text has equal id, whichever file, shape or row it came from: source, parents, tags and metadata are not text.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

if TYPE_CHECKING:
    import polars as pl

ID_LENGTH = 20
"""Hex digits of an id: 80 bits, a one in a hundred million chance of any collision in 100M samples."""

ROLES = ("system", "user", "assistant", "tool")

TURN_DETAILS, REJECTED_DETAILS = "turn_details", "rejected_details"
"""Metadata: place of a turn (from 0 on, as text) -> what its source said beside it, such as `name` or `tool_call_id`.

They are no part of the id: two logs of one conversation that differ in such marks are the same sample.
"""

_FIELD, _MESSAGE, _PART = "\x1f", "\x1e", "\x1d"


class Message(NamedTuple):
    """One turn of a conversation."""

    role: str
    """One of `ROLES`."""
    content: str
    reasoning: str | None = None
    """What the model thought before it answered, kept apart from the answer."""
    tool_calls: str | None = None
    """JSON list of calls, as the source had them."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One training sample. Preference pairs hold the chosen answer in `messages`, the other in `rejected`."""

    messages: tuple[Message, ...]
    rejected: tuple[Message, ...] | None = None
    """The turns that were not preferred; they follow the same prompt as the chosen ones."""
    label: bool | None = None
    """Unpaired judgement (KTO): True is desirable."""
    tools: str | None = None
    """JSON list of tool definitions."""
    shape: str = "messages"
    source: str = ""
    parents: tuple[str, ...] = ()
    operator: str | None = None
    """JSON of the operator that made it (name, parameters, model); null for ingested samples."""
    tags: tuple[str, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Hash of the text (messages, rejected, label, tools)."""
        return text_id(canonical_text(self.messages, self.rejected, self.label, self.tools))

    @property
    def instruction(self) -> str:
        """The user's turns of the prompt, joined by a blank line: what the response answers."""
        return instruction_of(self.messages)

    @property
    def response(self) -> str:
        """The last assistant turn; empty where there is none."""
        return response_of(self.messages)


def instruction_of(messages: Sequence[Message]) -> str:
    """The user turns, joined by a blank line."""
    return "\n\n".join(m.content for m in messages if m.role == "user")


def response_of(messages: Sequence[Message]) -> str:
    """The last assistant turn; empty where there is none."""
    return next((m.content for m in reversed(messages) if m.role == "assistant"), "")


def canonical_text(
    messages: Iterable[Message],
    rejected: Iterable[Message] | None = None,
    label: bool | None = None,
    tools: str | None = None,
) -> str:
    """The text an id is made from. Separators are control characters, so that no two samples read the same."""
    text = _turns(messages)
    if rejected is not None:
        text += f"{_PART}rejected{_turns(rejected)}"
    if label is not None:
        text += f"{_PART}label{int(label)}"
    if tools:
        text += f"{_PART}tools{_escaped(tools)}"
    return text


def _turns(messages: Iterable[Message]) -> str:
    turns = []
    for m in messages:
        turn = m.role + _FIELD + _escaped(m.content)
        if m.reasoning or m.tool_calls:
            turn += f"{_FIELD}{_escaped(m.reasoning or '')}{_FIELD}{_escaped(m.tool_calls or '')}"
        turns.append(turn)
    return _MESSAGE.join(turns)


def pair_text(instruction: str, response: str) -> str:
    """`canonical_text` of the plainest conversation, one question and one answer."""
    text = f"user{_FIELD}{instruction}{_MESSAGE}assistant{_FIELD}{response}"
    if text.count(_FIELD) == 2 and text.count(_MESSAGE) == 1 and _PART not in text and "\x1b" not in text:
        return text
    return f"user{_FIELD}{_escaped(instruction)}{_MESSAGE}assistant{_FIELD}{_escaped(response)}"


_SEPARATORS = re.compile("[\x1b\x1d-\x1f]")


def _escaped(text: str) -> str:
    # Separators in a text are written otherwise, so that no two samples read the same. Four looks for one character
    # cost far less than one look for four.
    if "\x1f" in text or "\x1e" in text or "\x1d" in text or "\x1b" in text:
        return _SEPARATORS.sub(lambda found: f"\x1b{ord(found.group()):02x}", text)
    return text


def is_pair(messages: Sequence[Message]) -> bool:
    """Whether a conversation is one question and one answer and nothing else."""
    return (
        len(messages) == 2
        and messages[0].role == "user"
        and messages[1].role == "assistant"
        and not any(m.reasoning or m.tool_calls for m in messages)
    )


def is_document(messages: Sequence[Message]) -> bool:
    """Whether there is one text and nothing that it answers: a document lies in a sample as a single answer."""
    return len(messages) == 1 and messages[0].role == "assistant" and not messages[0].tool_calls


_KANA = re.compile(r"[\u3040-\u30ff]")
_HANGUL = re.compile(r"[\uac00-\ud7af]")
_LETTERS = {
    "Chinese": re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]"),
    "Cyrillic": re.compile(r"[\u0400-\u04ff]"),
    "Arabic": re.compile(r"[\u0600-\u06ff]"),
    "Devanagari": re.compile(r"[\u0900-\u097f]"),
}
_OTHER = re.compile("[\u0400-\u04ff\u0600-\u06ff\u0900-\u097f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]")
"""Any of the letters above: most texts that are not ASCII have a curly quote and none of these."""


def script_of(text: str) -> str:
    """The dominant script: a cheap stand-in for the language, exact enough to part English from Chinese.

    Chinese counts from a third of the non-space characters on, as its words are shorter; others from a half.
    """
    text = text[:500]
    if text.isascii() or not _OTHER.search(text):
        return "Latin"
    if _KANA.search(text):
        return "Japanese"
    if _HANGUL.search(text):
        return "Korean"
    size = len("".join(text.split())) or 1
    for script, letters in _LETTERS.items():
        if len(letters.findall(text)) * (3 if script == "Chinese" else 2) > size:
            return script
    return "Latin"


def text_id(text: str) -> str:
    """The id of a canonical text: the first `ID_LENGTH` hex digits of its SHA-256."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:ID_LENGTH]


def schema() -> dict[str, pl.DataType]:
    """The columns of a frame of samples, as they lie in the corpus (order matters)."""
    import polars as pl

    turns = pl.List(
        pl.Struct({"role": pl.String, "content": pl.String, "reasoning": pl.String, "tool_calls": pl.String})
    )
    return {
        "id": pl.String(),
        "messages": turns,
        "rejected": turns,
        "label": pl.Boolean(),
        "tools": pl.String(),
        "instruction": pl.String(),
        "response": pl.String(),
        "script": pl.String(),
        "shape": pl.String(),
        "source": pl.String(),
        "row": pl.Int64(),
        "parents": pl.List(pl.String),
        "operator": pl.String(),
        "tags": pl.List(pl.String),
        "metadata": pl.String(),
    }


def to_frame(samples: Sequence[Sample], rows: Sequence[int | None] | None = None) -> pl.DataFrame:
    """Samples as a frame with the columns of `schema()`, in the same order; `row` is the row in the source file.

    `messages` is null where it would only repeat `instruction` and `response`; the corpus puts it back when it is read.
    """
    columns: dict[str, Any] = {
        "id": [s.id for s in samples],
        "messages": _turn_lists([None if is_pair(s.messages) else s.messages for s in samples]),
        "rejected": _turn_lists([s.rejected for s in samples]),
        "label": [s.label for s in samples],
        "tools": [s.tools for s in samples],
        "instruction": [s.instruction for s in samples],
        "response": [s.response for s in samples],
        "script": [script_of(f"{s.instruction} {s.response}") for s in samples],
        "shape": [s.shape for s in samples],
        "source": [s.source for s in samples],
        "row": list(rows) if rows is not None else [None] * len(samples),
        "parents": [list(s.parents) for s in samples],
        "operator": [s.operator for s in samples],
        "tags": [list(s.tags) for s in samples],
        "metadata": [metadata_json(s.metadata) for s in samples],
    }
    return framed(columns)


def pair_frame(columns: dict[str, Any]) -> pl.DataFrame:
    """A frame of plain pairs from their `instruction`, `response`, `shape`, `source`, `row` and `metadata` columns.

    The fast way into a corpus for the commonest files: the same frame as `to_frame` makes of the same samples.
    """
    pairs = list(zip(columns["instruction"], columns["response"], strict=True))
    columns["script"] = [
        "Latin" if i.isascii() and r.isascii() else script_of(f"{i[:500]} {r[:500]}") for i, r in pairs
    ]
    columns["id"] = [text_id(pair_text(instruction, response)) for instruction, response in pairs]
    return framed(columns)


def framed(columns: dict[str, Any]) -> pl.DataFrame:
    """A frame with exactly the columns of `schema()`; what is not given is null, lists are empty."""
    import polars as pl

    size = len(columns["id"])
    series = []
    for name, kind in schema().items():
        if name in columns:
            series.append(pl.Series(name, columns[name], dtype=kind))
        elif name in ("parents", "tags"):
            series.append(pl.Series(name, [[]], dtype=kind).new_from_index(0, size))
        else:
            series.append(pl.Series(name, [None], dtype=kind).new_from_index(0, size))
    return pl.DataFrame(series)


def _turn_lists(conversations: Sequence[Sequence[Message] | None]) -> pl.Series:
    # Built from flat arrays: ten times faster than from nested Python lists. pyarrow's own constructors from Python
    # objects would import pandas, which costs half a second.
    import polars as pl

    if all(turns is None for turns in conversations):  # plain pairs: pyarrow alone takes 34 MiB
        return pl.Series([None] * len(conversations), dtype=schema()["messages"])
    import pyarrow as pa

    flat = [m for turns in conversations if turns is not None for m in turns]
    names = Message._fields
    fields = [pl.Series([m[i] for m in flat], dtype=pl.String).to_arrow() for i in range(len(names))]
    ends = pl.Series([0, *itertools.accumulate(len(turns or ()) for turns in conversations)], dtype=pl.Int64).to_arrow()
    missing = pl.Series([turns is None for turns in conversations], dtype=pl.Boolean).to_arrow()
    return pl.Series(pa.LargeListArray.from_arrays(ends, pa.StructArray.from_arrays(fields, names), mask=missing))


def metadata_json(metadata: dict[str, Any]) -> str:
    """Metadata as the corpus stores it: sorted keys; what JSON can't say (dates, decimals) as text."""
    if not metadata:
        return "{}"
    try:
        return orjson.dumps(metadata, option=orjson.OPT_SORT_KEYS, default=str).decode()
    except orjson.JSONEncodeError:  # lone surrogates, integers over 64 bits
        return json.dumps(_finite(metadata), sort_keys=True, default=str)


def _finite(value: Any) -> Any:
    """The value with null for what is no number, which JSON can't say."""
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {str(name): _finite(inner) for name, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list) else value


def from_row(row: dict[str, Any]) -> Sample:
    """A sample from one row of a frame of samples."""
    rejected = row.get("rejected")
    return Sample(
        messages=_messages(row),
        rejected=None if rejected is None else tuple(Message(**m) for m in rejected),
        label=row.get("label"),
        tools=row.get("tools"),
        shape=row.get("shape") or "messages",
        source=row.get("source") or "",
        parents=tuple(row.get("parents") or ()),
        operator=row.get("operator"),
        tags=tuple(row.get("tags") or ()),
        metadata=json.loads(row.get("metadata") or "{}"),
    )


def _messages(row: dict[str, Any]) -> tuple[Message, ...]:
    if row.get("messages") is None:
        return Message("user", row["instruction"]), Message("assistant", row["response"])
    return tuple(Message(**m) for m in row["messages"])
