"""Rewriting texts around their code: which passages of a text are prose, which are code, and what to rewrite.

Covers: fences of backticks and tildes (in lists and quotes too, opened at the end of a line, closed after the last
statement, or never closed), code indented by four columns after an empty line, code between backticks within a line.
Does not cover: code that nothing marks as code.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from typing import Literal, NamedTuple

from curation.sample import ROLES, Message

ROUNDS = 4
"""How often a text is rewritten until nothing changes any more."""

_MARGIN = "[ \t>\u200b\ufeff\u2060\u00a0]*(?:(?:[-*+]|[0-9]{1,3}[.)])[ \t]+)?"
_OPENS = re.compile(rf"{_MARGIN}(?:(?P<ticks>`{{3,}})(?P<info>[^`\n]*)|(?P<waves>~{{3,}})(?P<words>[^\n]*))$")
_OPENS_LATE = re.compile(r"[^`\n]*[^`\s][^`\n]*(?P<ticks>`{3,})(?P<info>[\w+#-]*)[ \t\r]*$")
_INLINE = re.compile(r"(?<!`)(`+)(?!`)([^\n]*?[^`\n])\1(?!`)")
_INDENTED = re.compile(r" {4}| {0,3}\t")


class Passage(NamedTuple):
    """Consecutive lines of a text; all passages joined are the text."""

    text: str
    kind: Literal["prose", "fence", "indented"]
    """`fence` holds its opening and closing line; `indented` is code by its indentation."""
    language: str = ""
    """The first word after the fence, in lower case."""


def passages(text: str) -> Iterator[Passage]:
    """The passages of a text, in order."""
    if not ("```" in text or "~~~" in text or "\n    " in text or "\t" in text or text.startswith("    ")):
        yield Passage(text, "prose")
        return
    start, fence, kind = 0, None, "prose"
    after_empty = True
    for begin, line in _lines(text):
        end = begin + len(line)
        if fence is not None:
            if _closes(line, fence[0]):
                yield Passage(text[start:end], "fence", fence[1])
                start, fence, after_empty = end, None, True
            continue
        opened = _opened(line)
        empty = not line.strip()
        code = bool(_INDENTED.match(line)) and not empty and (kind == "indented" or after_empty)
        now = "prose" if opened or not (code or (empty and kind == "indented")) else "indented"
        if (opened or now != kind) and start < begin:
            yield from _ended(text[start:begin], kind)
            start = begin
        fence, kind, after_empty = opened, "prose" if opened else now, empty
    yield from [Passage(text[start:], "fence", fence[1])] if fence else _ended(text[start:], kind)


def _ended(text: str, kind: str) -> Iterator[Passage]:
    if kind == "prose":
        yield Passage(text, "prose")
        return
    code = text.rstrip(" \t\r\n")
    line_end = text.find("\n", len(code)) + 1 or len(text)
    yield Passage(text[:line_end], "indented")
    if line_end < len(text):
        yield Passage(text[line_end:], "prose")


def _lines(text: str) -> Iterator[tuple[int, str]]:
    start = 0
    while start < len(text):
        end = text.find("\n", start) + 1 or len(text)
        yield start, text[start:end]
        start = end


def _opened(line: str) -> tuple[str, str] | None:
    """The fence a line opens and its language; null where it opens none."""
    if "```" not in line and "~~~" not in line:
        return None
    found = _OPENS.match(line) or _OPENS_LATE.match(line)
    if found is None:
        return None
    groups = found.groupdict()
    words = (groups["info"] or groups.get("words") or "").split()
    return groups["ticks"] or groups["waves"], words[0].lower().strip("{}.") if words else ""


def _closes(line: str, fence: str) -> bool:
    # A fence that stands right behind the last statement closes too: many models write it so.
    bare = line.strip(" \t\r\n>")
    if not bare.endswith(fence):
        return False
    marks = bare[len(bare.rstrip(fence[0])) :]
    return len(marks) >= len(fence) and (bare == marks or (fence[0] == "`" and bare.count("`") == len(marks)))


def outside_code(text: str, rewrite: Callable[[str], str]) -> str:
    """The text with its prose rewritten and its code, code within lines included, as it was."""
    return "".join(prose_only(p.text, rewrite) if p.kind == "prose" else p.text for p in passages(text))


def prose_only(text: str, rewrite: Callable[[str], str]) -> str:
    """A passage of prose rewritten, code within its lines left as it was."""
    if "`" not in text:
        return rewrite(text)
    parts, start = [], 0
    for code in _INLINE.finditer(text):
        parts += [rewrite(text[start : code.start()]), code.group()]
        start = code.end()
    return "".join([*parts, rewrite(text[start:])])


def settled(text: str, rewrite: Callable[[str], str]) -> str:
    """The text rewritten until nothing changes any more; one that never settles stays as it was."""
    now = text
    for _ in range(ROUNDS):
        new = rewrite(now)
        if new == now:
            return now
        now = new
    return text


def every_text(
    messages: tuple[Message, ...], rewrite: Callable[[str], str], roles: Collection[str] = ROLES
) -> tuple[Message, ...]:
    """The turns with `rewrite` applied to contents and reasoning of these roles until they settle."""
    new = tuple(_with(m, rewrite) if m.role in roles else m for m in messages)
    return messages if new == messages else new


def _with(message: Message, rewrite: Callable[[str], str]) -> Message:
    content = settled(message.content, rewrite)
    reasoning = settled(message.reasoning, rewrite) if message.reasoning else message.reasoning
    if content == message.content and reasoning == message.reasoning:
        return message
    return message._replace(content=content, reasoning=reasoning)
