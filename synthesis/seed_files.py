"""Seed samples from a file of the user's own: one text a line, JSON lines, a JSON list, or a tree of topics."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from curation.errors import OperatorError
from curation.sample import Message, Sample
from synthesis.shards import OWN_SEED


def own_seed(text: str, **metadata: Any) -> Sample:
    """A seed sample that is in no corpus."""
    return Sample((Message("user", text),), metadata={**metadata, OWN_SEED: True})


def shuffled(samples: Sequence[Sample], seed: int) -> list[Sample]:
    """Each sample once, in an order that depends on the random seed and their ids alone."""
    distinct = {sample.id: sample for sample in reversed(samples)}
    return sorted(distinct.values(), key=lambda s: hashlib.sha256(f"{seed}/{s.id}".encode()).digest())


def texts_in(path: Path, field: str) -> list[str]:
    """The texts of a file: its lines, or of JSON the texts themselves or this field of the objects.

    Raises:
        OperatorError: it can't be read, or holds no text.
    """
    lines = read_text(path)
    read = _json(lines)
    if read is None:
        rows: list[Any] = [_json(line) or line.strip() for line in lines.splitlines() if line.strip()]
    else:
        rows = read if isinstance(read, list) else [read]
    texts = [row.get(field) if isinstance(row, dict) else row for row in rows]
    found = [text.strip() for text in texts if isinstance(text, str) and text.strip()]
    if not found:
        raise OperatorError(
            f"{path} holds no text (field {field!r} of JSON, or lines).", fix=f"give a file with one {field} a line"
        )
    return found


def paths_in(path: Path) -> list[tuple[str, ...]]:
    """The leaves of a tree of topics, each with all that stands above it, in order.

    A tree is nested JSON (objects and lists of texts), or lines of which deeper ones stand further in.

    Raises:
        OperatorError: it can't be read, or holds no topic.
    """
    text = read_text(path)
    read = _json(text)
    found = list(dict.fromkeys(_leaves(read, ()) if isinstance(read, dict | list) else _indented(text)))
    if not found:
        raise OperatorError(f"{path} holds no topic.", fix="give nested JSON, or lines with subtopics further in")
    return found


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        OperatorError: it can't be read.
    """
    try:
        return path.expanduser().read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise OperatorError(f"{path} can't be read: {reason}.", fix="give the path of a text or JSON file") from None


def _json(text: str) -> Any:
    try:
        return json.loads(text) if text.lstrip()[:1] in ('"', "{", "[") else None
    except (ValueError, RecursionError):
        return None


def _leaves(value: Any, above: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, (*above, str(name).strip())) if inner else [(*above, str(name).strip())]
    elif isinstance(value, list):
        for one in value:
            yield from _leaves(one, above)
    elif isinstance(value, str) and value.strip():
        yield (*above, value.strip())


def _indented(text: str) -> Iterator[tuple[str, ...]]:
    lines = [(len(line.expandtabs(4)) - len(line.expandtabs(4).lstrip()), line) for line in text.splitlines()]
    lines = [(depth, line.strip().lstrip("-*•").strip()) for depth, line in lines if line.strip().lstrip("-*•").strip()]
    above: list[tuple[int, str]] = []
    for place, (depth, topic) in enumerate(lines):
        above = [(d, t) for d, t in above if d < depth]
        above.append((depth, topic))
        if place + 1 == len(lines) or lines[place + 1][0] <= depth:
            yield tuple(t for _, t in above)
