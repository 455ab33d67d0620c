"""What a model thought, apart from what it answered."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import BeforeValidator, Field

from curation.normalizers.passages import ROUNDS, passages
from curation.operators import Normalizer, parted
from curation.sample import Message

_INLINE_CODE = re.compile(r"`[^`\n]*`")
_SOLUTION = re.compile(r"\s*<\|begin_of_solution\|>(.*?)(?:<\|end_of_solution\|>)?\s*", re.DOTALL)


class _Tag(NamedTuple):
    start: int
    end: int
    opens: bool


class Reasoning(Normalizer):
    """`<think>` blocks in assistant turns, moved into the reasoning field.

    Upper case, blanks and attributes in tags, several blocks and nested ones are read; so are the pairs
    `<|begin_of_thought|>`, `[THINK]` and `◁think▷`. A closing tag without an opening one ends a block that began with
    the turn, or with the end of the block before. A block that is never closed runs to the end: where nothing stands
    before it, the answer is missing and the turn is left empty (the scorer `heuristics` flags it as such), or left as
    it is with `unclosed=leave`. Tags in code and those that a line merely mentions are text. Reasoning that is there
    already stays, with what was moved after it.

    Source: none; the tags of DeepSeek-R1 and QwQ, Sky-T1, Magistral and Kimi.
    Differs from the source: the parsers of inference servers look for one pair at the start of an answer.
    """

    name: ClassVar[str] = "reasoning"

    tags: Annotated[tuple[str, ...], BeforeValidator(parted)] = Field(
        ("think", "thinking", "thought"), min_length=1, description="Names of the tags"
    )
    unclosed: Literal["reasoning", "leave"] = Field(
        "reasoning", description="What becomes of a turn that is one block without an end, and so without an answer"
    )

    def normalize(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        new = tuple(self._settled(m) if m.role == "assistant" else m for m in messages)
        return messages if new == messages else new

    def _settled(self, message: Message) -> Message:
        now = message
        for _ in range(ROUNDS):
            new = self._turn(now)
            if new == now:
                return now
            now = new
        return message

    def _turn(self, message: Message) -> Message:
        text = message.content
        if ">" not in text and "[/" not in text and "\u25b7" not in text and "[THINK]" not in text:
            return message
        outside, thoughts = self._parted(text)
        answer = _joined(outside) if outside else text
        solution = _SOLUTION.fullmatch(answer)
        answer = solution.group(1).strip() if solution else answer
        if answer == text:
            return message
        told = [message.reasoning] if message.reasoning else []
        moved = [thought for thought in thoughts if thought and thought not in told]
        return message._replace(content=answer, reasoning="\n\n".join(told + moved) or message.reasoning)

    def _parted(self, text: str) -> tuple[list[str], list[str]]:
        """What stands outside the blocks (nothing where there is none), and the blocks without their tags."""
        outside: list[str] = []
        thoughts: list[str] = []
        depth, begun, rest = 0, 0, 0
        closed: _Tag | None = None  # the last tag that closed something inside the block
        for tag in self._tags_of(text):
            if tag.opens and depth:
                depth += 1
            elif tag.opens:
                outside.append(text[rest : tag.start])
                depth, begun, closed = 1, tag.end, None
            elif depth > 1:
                depth, closed = depth - 1, tag
            else:
                if not depth:
                    outside.append("")
                    begun = rest
                thoughts.append(self._bare(text[begun : tag.start]))
                depth, rest = 0, tag.end
        if not depth:
            return ([*outside, text[rest:]] if outside else []), thoughts
        if closed is not None:
            return [*outside, text[closed.end :]], [*thoughts, self._bare(text[begun : closed.start])]
        if self.unclosed == "leave" and not "".join(outside).strip():
            return [], []
        return outside, [*thoughts, self._bare(text[begun:])]

    def _tags_of(self, text: str) -> list[_Tag]:
        """The tags that mark blocks, in order, without those that are code or mere words in a line."""
        found = [_Tag(*m.span(), opens=_opens(m.group())) for m in _tag_pattern(self.tags).finditer(text)]
        if not found:
            return []
        code = _code_of(text)
        kept: list[_Tag] = []
        depth = 0
        for place, tag in enumerate(found):
            inside = any(start <= tag.start < end for start, end in code)
            if tag.opens:
                counts = not inside and (depth > 0 or _begins(text, tag, found[place + 1 :]))
            elif depth:
                counts = not inside or _alone(text, tag)
            else:
                counts = not inside and _ends(text, tag)
            if counts:
                kept.append(tag)
                depth = depth + 1 if tag.opens else max(0, depth - 1)
        return kept

    def _bare(self, thought: str) -> str:
        return _tag_pattern(self.tags).sub("", thought).strip()


@lru_cache
def _tag_pattern(names: tuple[str, ...]) -> re.Pattern[str]:
    named = "|".join(map(re.escape, names))
    return re.compile(
        rf"<\s*/?\s*(?:seed:)?(?:{named})(?:\s[^<>\n]{{0,80}})?\s*>|<\|(?:begin|end)_of_thought\|>|\[/?THINK\]"
        "|\u25c1/?think\u25b7",
        re.IGNORECASE,
    )


def _opens(tag: str) -> bool:
    return "/" not in tag[:4] and not tag.startswith("<|e")


def _code_of(text: str) -> list[tuple[int, int]]:
    found, start = [(m.start(), m.end()) for m in _INLINE_CODE.finditer(text)], 0
    for part in passages(text):
        if part.kind == "fence":
            found.append((start, start + len(part.text)))
        start += len(part.text)
    return found


def _begins(text: str, tag: _Tag, later: list[_Tag]) -> bool:
    """Whether an opening tag begins a block: it starts a line, follows another tag, or its block has several lines."""
    before = text[: tag.start].rstrip(" \t")
    if not before or before[-1] in "\n>]\u25b7":
        return True
    close = next((other for other in later if not other.opens), None)
    return close is not None and "\n" in text[tag.end : close.start]


def _ends(text: str, tag: _Tag) -> bool:
    """Whether a closing tag that nothing opened ends a block: a line begins or ends there, or words follow at once."""
    before, after = text[: tag.start].rstrip(" \t"), text[tag.end : tag.end + 1]
    return not before or before[-1] == "\n" or not after or after not in " \t'\",.;:)"


def _alone(text: str, tag: _Tag) -> bool:
    line_start = text.rfind("\n", 0, tag.start) + 1
    line_end = text.find("\n", tag.end)
    return not (text[line_start : tag.start] + text[tag.end : line_end if line_end >= 0 else len(text)]).strip()


def _joined(parts: list[str]) -> str:
    """The parts of an answer as one text, parted as they were: by an empty line, a line end or a space."""
    answer = ""
    for part in parts:
        if not part.strip():
            continue
        lines = re.sub(r"\A(?:[ \t]*\r?\n)+", "\n\n", part)
        if not answer:
            answer = lines.removeprefix("\n\n") if lines.startswith("\n\n") else part.removeprefix(" ")
        elif lines.startswith("\n\n"):
            answer = answer.rstrip() + lines
        else:
            between = "\n\n" if answer.endswith("\n\n") else "\n" if answer.endswith("\n") else " "
            answer = answer.rstrip() + between + part.lstrip(" \t")
    return answer.rstrip()
