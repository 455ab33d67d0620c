"""What a model thought, apart from what it answered, in one text that holds both. Pure.

Covers: `<think>`, `<thinking>`, `<thought>`, `<reasoning>` in any case and with attributes, `◁think▷`, `[THINK]`,
`<|begin_of_thought|>`, the channels of gpt-oss (also where their marks were stripped: `analysis...assistantfinal...`);
blocks that are never closed, closed without having been opened (the template opened them), closed twice, nested, or
several in a row. Tags in code and tags that a sentence merely mentions are text.
Nothing is lost: answer and reasoning together hold every character of the text but the tags and white space at edges.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

_NAMES = "think|thinking|thoughts?|reasoning"
_TAG = re.compile(
    rf"<\s*(?P<close>/)?\s*(?:seed:)?(?:{_NAMES})(?:\s[^<>\n]{{0,80}})?\s*>|<\|(?:begin|(?P<end>end))_of_thought\|>"
    r"|\[(?P<shut>/)?THINK\]|◁(?P<off>/)?think▷",
    re.IGNORECASE,
)
_SOLUTION = re.compile(r"\s*<\|begin_of_solution\|>(.*?)(?:<\|end_of_solution\|>)?\s*", re.DOTALL)
_CODE = re.compile(r"(?ms)^[ \t]*(```+|~~~+).*?^[ \t]*\1|`[^`\n]+`")
_CHANNEL = re.compile(
    r"(?:<\|start\|>\w*)?<\|channel\|>(?P<name>\w+)[^<]{0,80}(?:<\|constrain\|>\w*)?<\|message\|>(?P<said>.*?)"
    r"(?:<\|(?:end|return|call)\|>|(?=<\|(?:start|channel)\|>)|\Z)",
    re.DOTALL,
)
_CHANNEL_MARK = "<|message|>"
_STRIPPED = re.compile(r"analysis(?=[^\sa-z,.:;])(.+?)assistantfinal(.+)", re.DOTALL)
_NEAR = 400
"""So many characters before a tag are looked at."""


class Parted(NamedTuple):
    """A text in its two parts."""

    answer: str
    thoughts: str | None
    unfinished: bool = False
    """The thought was never closed, so that no answer follows it."""


class _Tag(NamedTuple):
    start: int
    end: int
    closes: bool


def parted(content: str) -> Parted:
    """Answer and thoughts of a text; one without tags is an answer, whatever white space stands around it left out."""
    if _CHANNEL_MARK in content and (found := _by_channels(content)):
        return found
    if stripped := _STRIPPED.fullmatch(content.strip()):
        return Parted(stripped[2].strip(), stripped[1].strip())
    tags = [_Tag(*m.span(), any(m.group("close", "end", "shut", "off"))) for m in _TAG.finditer(content)]
    return _by_tags(content, tags) if tags else Parted(content.strip(), None)


def _by_channels(content: str) -> Parted | None:
    """Messages of gpt-oss: the channel `final` is the answer, and so is text outside of any, unless it comes first."""
    answers: list[str] = []
    thoughts: list[str] = []
    names: list[str] = []
    rest = 0
    for message in _CHANNEL.finditer(content):
        before = _unmarked(content[rest : message.start()])
        # What stands before the first channel was opened by the template.
        (answers if names else thoughts).append(before)
        names.append(message["name"])
        (answers if message["name"] == "final" else thoughts).append(message["said"].strip())
        rest = message.end()
    if not names:
        return None
    answers.append(_unmarked(content[rest:]))
    return Parted(_joined(answers) or "", _joined(thoughts), unfinished="final" not in names)


def _unmarked(text: str) -> str:
    return re.sub(r"<\|(?:start|end|return|call)\|>(?:assistant)?", "", text).strip()


def _by_tags(text: str, tags: Sequence[_Tag]) -> Parted:
    reader = _Reader(text, tags)
    for place, tag in enumerate(tags):
        (reader.inside if reader.depth else reader.outside)(place, tag)
    return reader.parted()


class _Reader:
    """Reads tags in order; `rest` is where what was not yet assigned begins."""

    def __init__(self, text: str, tags: Sequence[_Tag]) -> None:
        self.text, self.tags = text, tags
        self.code = [match.span() for match in _CODE.finditer(text)]
        self.answers: list[str] = []
        self.thoughts: list[str] = []
        self.depth = self.begun = self.rest = 0
        self.mentioned = 0
        """Opening tags before this one that were text, and whose closing tags so are text too."""
        self.last: _Tag | None = None
        """Closed an inner block, or one that only seemed to be: what only mentions an opening tag ends here."""

    def outside(self, place: int, tag: _Tag) -> None:
        """A tag where no block is open."""
        if self._code_at(tag) is not None:
            return
        if not tag.closes and self._begins(place, tag):
            self.answers.append(self.text[self.rest : tag.start])
            self.depth, self.begun, self.last = 1, tag.end, None
        elif not tag.closes or self.mentioned:
            self.mentioned += -1 if tag.closes else 1
        elif _ends(self.text, tag):
            self.thoughts.append(self.text[self.rest : tag.start])
            self.rest = tag.end

    def inside(self, place: int, tag: _Tag) -> None:
        """A tag within a block."""
        code = self._code_at(tag)
        if code is not None and not (tag.closes and _alone(self.text, tag)):
            # A fence that the thought left open seems to go on behind its end.
            self.last = tag if tag.closes and "\n" in self.text[code[0] : code[1]] else self.last
            return
        self.depth += -1 if tag.closes else 1
        self.last = tag if tag.closes else self.last
        if self.depth == 0:
            self.thoughts.append(self.text[self.begun : tag.start])
            self.rest, self.last = tag.end, None

    def parted(self) -> Parted:
        """The text in its parts, once all tags are read."""
        if self.depth and self.last is not None:
            self.thoughts.append(self.text[self.begun : self.last.start])
            self.rest, self.depth = self.last.end, 0
        (self.thoughts if self.depth else self.answers).append(self.text[self.begun if self.depth else self.rest :])
        answer = "".join(self.answers).strip()
        solution = _SOLUTION.fullmatch(answer)
        thoughts = _joined(map(_bare, self.thoughts))
        return Parted(solution[1].strip() if solution else answer, thoughts, unfinished=self.depth > 0)

    def _begins(self, place: int, tag: _Tag) -> bool:
        """Whether an opening tag begins a block: only thoughts came before, or it is closed and not merely mentioned.

        A sentence mentions a pair of tags on one line, where nothing was thought before.
        """
        near = self.text[max(self.rest, tag.start - _NEAR) : tag.start]
        before = (*self.answers, self.text[self.rest : tag.start])
        if not near.strip() and not any(part.strip() for part in before):
            return True
        close = next((other for other in self.tags[place + 1 :] if other.closes), None)
        own_line = not near.rstrip(" \t") or near.rstrip(" \t")[-1] == "\n"
        lines = close is not None and "\n" in self.text[tag.end : close.start]
        return close is not None and (own_line or lines or bool(self.thoughts))

    def _code_at(self, tag: _Tag) -> tuple[int, int] | None:
        return next(((start, end) for start, end in self.code if start <= tag.start < end), None)


def _ends(text: str, tag: _Tag) -> bool:
    """Whether a closing tag that nothing opened ends a block; one that a sentence mentions stands between spaces."""
    before, after = text[max(0, tag.start - _NEAR) : tag.start], text[tag.end : tag.end + _NEAR]
    if not before.strip() or not after.strip() or before.rstrip(" \t").endswith("\n") or after.lstrip(" \t")[0] == "\n":
        return True
    return not before[-1].isspace() and before[-1] not in "\"'“‘「《(" and after[0] not in "\"'”’」》),.;:，。；："


def _alone(text: str, tag: _Tag) -> bool:
    """Whether a tag has a line of its own: what looks like code around it is two blocks of it."""
    line = text.rfind("\n", 0, tag.start) + 1
    end = text.find("\n", tag.end)
    return not (text[line : tag.start] + text[tag.end : end if end >= 0 else len(text)]).strip()


def _bare(thought: str) -> str:
    """A thought without the tags of blocks inside it."""
    code = [match.span() for match in _CODE.finditer(thought)]
    inner = [tag.span() for tag in _TAG.finditer(thought)]
    for start, end in reversed([tag for tag in inner if not any(a <= tag[0] < b for a, b in code)]):
        thought = thought[:start] + thought[end:]
    return thought.strip()


def _joined(parts: Iterable[str]) -> str | None:
    return "\n\n".join(part for part in parts if part) or None
