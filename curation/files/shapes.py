"""The shapes that fine-tuning data comes in, and how a row of each becomes samples.

Covers: Alpaca, ShareGPT, messages, prompt/completion, question/answer, lists of instances, preference pairs (as texts,
turns, whole conversations, two answers and a verdict, answers with scores), judged conversations (KTO), user logs with
feedback, prompts without an answer, plain documents. What a shape does not know stays in metadata.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from curation.files.feedback import FeedbackRules, expanded
from curation.files.pairs import answered_pair, from_pair, is_given, is_passage, question_alone
from curation.files.preferences import compared_columns, from_compared, from_preference, from_ranked, ranked_columns
from curation.files.turns import Row, Unreadable, details, json_text, judgement, message, plain, text, with_system
from curation.files.verdicts import ROW_MARKS, is_log
from curation.sample import REJECTED_DETAILS, TURN_DETAILS, Message, Sample

__all__ = [
    "MAPPABLE", "RESERVED", "SHAPES", "Unreadable", "columns_of", "pair_columns", "renamed", "shape_of", "to_sample",
    "to_samples",
]  # fmt: skip

MAPPABLE = (
    "instruction", "input", "output", "prompt", "completion", "question", "answer", "response", "messages",
    "conversations", "chosen", "rejected", "system", "tools", "label", "tags", "source", "text", "history",
    "responses", "scores", "preference", "output_1", "output_2", "feedback", "edited", "alternatives",
)  # fmt: skip
"""Names that `--map NAME=COLUMN` can give to a column."""

RESERVED = (frozenset(MAPPABLE) | ROW_MARKS | {"instances", "kto_tag"}) - {"source", "text"}
"""Columns that mean something: a row that has one more than its plain pair is not plain."""

LABELS = ("label", "kto_tag")
DOCUMENTS = ("text", "content")
ABOUT = frozenset(
    ("title", "heading", "section", "url", "source", "meta", "metadata", "date", "timestamp", "created", "added",
     "author", "authors", "category", "categories", "tags", "keywords", "license", "language", "path", "file_path",
     "repo_name", "id")
)  # fmt: skip
"""Columns beside a text that say something about it, even in several words."""

DEEPEST = 4
"""Levels of objects in which `columns_of` looks for columns."""


def to_sample(row: Row, source: str, fields: Mapping[str, str] | None = None) -> Sample:
    """The first sample a row describes; `to_samples` has all of them.

    Raises:
        Unreadable: it has no known shape, or a value is not what its shape says.
    """
    return to_samples(row, source, fields)[0]


def to_samples(
    row: Row, source: str, fields: Mapping[str, str] | None = None, rules: FeedbackRules | None = None
) -> list[Sample]:
    """The samples a row describes: mostly one; several of a list of instances, of ranked answers and of a log.

    Args:
        row: one row of a file.
        source: where it comes from, unless `fields` maps a column to `source`.
        fields: name from `MAPPABLE` -> column of the row that is meant by it; a path such as `data.question` or
            `turns.0` reaches into a column.
        rules: what becomes of conversations with feedback; the defaults when null.

    Raises:
        Unreadable: it has no known shape, or a value is not what its shape says.
    """
    row = _unpacked(renamed(row, fields) if fields else row)
    drop = ("source",) if fields and "source" in fields else ()
    if drop and row.get("source"):
        source = str(row["source"])
    shape = shape_of(row, fields)
    if shape is None:
        raise Unreadable(f"no known shape: it has {', '.join(map(str, row)) or 'no columns'}")
    if shape not in SEVERAL and shape != "log":
        return [_sample(row, shape, shape, source, drop)]
    rows = expanded(row, rules or FeedbackRules()) if shape == "log" else SEVERAL[shape](row)
    samples = [_sample(one, inner, shape, source, drop) for inner, one in rows]
    if not samples:
        raise Unreadable("it has no answer")
    return list({sample.id: sample for sample in reversed(samples)}.values())[::-1]


def _sample(row: Row, shape: str, name: str, source: str, drop: tuple[str, ...]) -> Sample:
    used = {"tags", "tools", *drop}
    messages, rejected = SHAPES[shape](row, used)
    if not any(m.content or m.tool_calls for m in messages):
        raise Unreadable("it has no text")
    label = None if shape in UNLABELLED else _label(row, used)
    tools = json_text(row.get("tools"), "tools")
    metadata = {key: value for key, value in row.items() if key not in used}
    if shape == "alpaca" and row.get("input"):
        metadata["input"] = row["input"]
    for key, turns in ((TURN_DETAILS, messages), (REJECTED_DETAILS, rejected or ())):
        more = details(turns)
        if more:
            metadata[key] = more
    return Sample(
        messages=plain(messages),
        rejected=None if rejected is None else plain(rejected),
        label=label,
        tools=tools,
        shape=name,
        source=source,
        tags=_tags(row, metadata),
        metadata=metadata,
    )


def shape_of(row: Row, fields: Mapping[str, str] | None = None) -> str | None:
    """The name of the shape a row has, judged by its columns; null if none fits.

    Args:
        row: with its columns under the names they are mapped to.
        fields: the map; what it calls a question or a text stands alone whatever is beside it.
    """
    if is_given(row, "chosen") and is_given(row, "rejected"):
        return "preference"
    if compared_columns(row) is not None:
        return "compared"
    if ranked_columns(row) is not None:
        return "ranked"
    if is_log(row):
        return "log"
    if isinstance(row.get("messages"), list):
        return "messages"
    if isinstance(row.get("conversations"), list):
        return "sharegpt"
    pair = answered_pair(row)
    if pair is not None:
        return pair[0]
    if is_given(row, "instruction") and isinstance(row.get("instances"), list):
        return "instances"
    return question_alone(row, fields or ()) or ("document" if _document_column(row, fields) else None)


def pair_columns(row: Row) -> tuple[str, str, str] | None:
    """(shape, column of the question, column of the answer) of a row that is nothing but a plain pair and metadata."""
    pair = answered_pair(row)
    if pair is None:
        return None
    own = {pair[1], pair[2]} | ({"input"} if pair[0] == "alpaca" else set())
    return None if RESERVED & set(row) - own or compared_columns(row) or ranked_columns(row) else pair


def _document_column(row: Row, fields: Mapping[str, str] | None) -> str | None:
    """The column of a text that stands alone: not a turn, and beside nothing that may be its question or answer."""
    name = next((n for n in DOCUMENTS if isinstance(row.get(n), str)), None)
    if name is None or (fields and "text" in fields):
        return name
    others = (value for column, value in row.items() if column != name and column.lower() not in ABOUT)
    alone = not any(map(is_passage, others)) and not {"role", "from", "summary", "target", "answer"} & row.keys()
    return name if alone else None


def _from_document(row: Row, used: set[str]) -> tuple[list[Message], None]:
    name = next(n for n in DOCUMENTS if isinstance(row.get(n), str))
    used.add(name)
    return [Message("assistant", row[name])], None


def _from_turns(name: str) -> Callable[[Row, set[str]], tuple[list[Message], None]]:
    def convert(row: Row, used: set[str]) -> tuple[list[Message], None]:
        used.update((name, "system"))
        return with_system(row, [message(m) for m in row[name]]), None

    return convert


def _from_pair(name: str) -> Callable[[Row, set[str]], tuple[list[Message], None]]:
    return lambda row, used: (from_pair(name, row, used), None)


SHAPES: dict[str, Callable[[Row, set[str]], tuple[list[Message], list[Message] | None]]] = {
    "alpaca": _from_pair("alpaca"),
    "sharegpt": _from_turns("conversations"),
    "messages": _from_turns("messages"),
    "prompt-completion": _from_pair("prompt-completion"),
    "question-answer": _from_pair("question-answer"),
    "preference": from_preference,
    "document": _from_document,
}
"""Shape of a row that is one sample -> how it is read; the columns that were read are added to the set."""

UNLABELLED = frozenset(("preference", "document"))
"""Shapes in which a column `label` judges something else."""


def _instances(row: Row) -> list[tuple[str, Row]]:
    rest = {key: value for key, value in row.items() if key != "instances"}
    rows = []
    for place, instance in enumerate(row["instances"], 1):
        if not isinstance(instance, dict):
            raise Unreadable("an instance is not an object with an input and an output")
        text(instance.get("output"), "output of an instance")
        rows.append(("alpaca", {**rest, **instance, "instruction": row["instruction"], "instance": place}))
    return rows


SEVERAL: dict[str, Callable[[Row], list[tuple[str, Row]]]] = {
    "instances": _instances,
    "compared": lambda row: [("preference", one) for one in from_compared(row)],
    "ranked": lambda row: [("preference", one) for one in from_ranked(row)],
}
"""Shape of a row that may be several samples -> (shape, row) of each."""


def _label(row: Row, used: set[str]) -> bool | None:
    for name in LABELS:
        judged = judgement(row.get(name))
        if judged is not None:
            used.add(name)
            return judged
    return None


def _tags(row: Row, metadata: Row) -> tuple[str, ...]:
    tags = row.get("tags")
    if isinstance(tags, list) and all(isinstance(t, str) for t in tags):
        return tuple(dict.fromkeys(tags))
    if tags is not None:
        metadata["tags"] = tags
    return ()


def _unpacked(row: Row) -> Row:
    # Tables write lists as JSON in a text.
    for name in ("messages", "conversations", "instances"):
        value = row.get(name)
        if isinstance(value, str) and value.lstrip()[:2] in ("[{", "[ ", "[\n", "[]"):
            try:
                row = {**row, name: json.loads(value)}
            except (ValueError, RecursionError):
                raise Unreadable(f"{name} is a text that is no JSON list") from None
    return row


# -------------------------------------------------------------------- which column is meant


def renamed(row: Row, fields: Mapping[str, str]) -> Row:
    """The row with the mapped columns under the names they are mapped to; a column that is reached into stays too."""
    if not fields:
        return row
    found = {name: _reached(row, column) for name, column in fields.items()}
    found = {name: value for name, value in found.items() if value is not MISSING}
    columns = {fields[name] for name in found}
    others = {_aside(key, found): value for key, value in row.items() if key not in columns}
    return others | found


MISSING = object()


def _reached(row: Row, path: str) -> Any:
    """What stands in a column, or at a path of keys and places (from 0 on) inside one."""
    if path in row:
        return row[path]
    value: Any = row
    for step in path.split("."):
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return MISSING
    return value


def _aside(name: str, fields: Mapping[str, object]) -> str:
    # A column that the map gives the name of another one keeps its value, under a name that means nothing here.
    return f"original_{name}" if name in fields else name


def columns_of(row: Row) -> list[str]:
    """The columns of a row, and the paths into those that are objects or lists of a few texts."""
    found = []
    for name, value in row.items():
        found.append(str(name))
        found += [f"{name}.{path}" for path in _paths(value, DEEPEST)]
    return found


def _paths(value: Any, levels: int) -> list[str]:
    if isinstance(value, list) and len(value) <= DEEPEST:
        texts = all(isinstance(v, str) for v in value) and any(map(is_passage, value))
        value = dict(enumerate(value)) if texts else {}
    if not isinstance(value, dict) or not levels:
        return []
    return [path for k, v in value.items() for path in (str(k), *(f"{k}.{p}" for p in _paths(v, levels - 1)))]
