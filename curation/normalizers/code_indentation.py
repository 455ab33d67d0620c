"""How code is indented."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from typing import ClassVar, Literal

from pydantic import Field

from curation.normalizers.passages import Passage, every_text, passages
from curation.operators import Normalizer
from curation.sample import Message

KEPT = frozenset({"make", "makefile", "mk", "gnumakefile", "diff", "patch", "tsv", "csv", "whitespace"})
"""Languages in which a tab at the start of a line means something."""
NO_TABS = frozenset({
    "yaml", "yml", "fsharp", "f#", "fs", "nim", "elm", "lean", "rst", "md", "markdown", "text", "txt", "plaintext",
    "ascii", "output",
})  # fmt: skip
"""Languages that forbid tabs as indentation, and texts whose columns are aligned by spaces."""

_MAKEFILE = re.compile(r"^[\w.%/$(){}-]+[ \t]*:(?![=/])[^\n]*\n\t", re.MULTILINE)
_YAML = re.compile(r"^(?:[ ]*(?:- )?[\w.-]+:(?:[ ].*)?|[ ]*- .*|---|[ ]*#.*|\s*)$")
_INDENT = re.compile(r"[ \t]+")
_UNITS = (2, 3, 4, 8)


class CodeIndentation(Normalizer):
    """Tabs or spaces at the start of lines, in fenced code only.

    A line that mixes both is measured in columns (a tab goes to the next multiple of `width`) and written anew. To
    tabs, each block is measured by its own step, so that code in steps of two gets one tab per step; what is left
    over (aligned arguments) stays spaces. Makefiles, diffs and tables of tab-separated values stay as they are, and
    YAML and others that forbid tabs never get any. Lines inside strings of several lines are indented like the rest.

    Source: none; the columns of `expand` and `unexpand` (POSIX).
    """

    name: ClassVar[str] = "code-indentation"

    to: Literal["spaces", "tabs"] = Field("spaces", description="What code is indented with")
    width: int = Field(4, ge=1, le=8, description="Columns of a tab")

    def normalize(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        return every_text(messages, self._clean)

    def _clean(self, text: str) -> str:
        if ("```" not in text and "~~~" not in text) or ("\t" if self.to == "spaces" else "\n ") not in text:
            return text
        return "".join(self._block(p) if p.kind == "fence" else p.text for p in passages(text))

    def _block(self, block: Passage) -> str:
        first, *code = block.text.split("\n")
        if not code or self._stays(block.language.rpartition(".")[2], code):
            return block.text
        margin = _leading(first)
        unit = self.width if self.to == "spaces" else self._step([line.removeprefix(margin) for line in code])
        return "\n".join([first, *(self._line(line, margin, unit) for line in code)])

    def _stays(self, language: str, code: list[str]) -> bool:
        if language in KEPT or (self.to == "tabs" and language in NO_TABS):
            return True
        if language:
            return False
        if _MAKEFILE.search("\n".join(code)):
            return True
        return self.to == "tabs" and any(":" in line for line in code) and all(map(_YAML.match, code[:-1]))

    def _step(self, code: list[str]) -> int:
        """Columns of one step of the block: the commonest growth from one line to the next, the first of them."""
        depths = [len(_leading(line).expandtabs(self.width)) for line in code if line.strip()]
        growth = Counter(b - a for a, b in pairwise(depths) if b - a in _UNITS)
        if any(line.startswith("\t") for line in code) or not growth:
            return self.width
        return growth.most_common(1)[0][0]

    def _line(self, line: str, margin: str, unit: int) -> str:
        # In a list the whole block stands a few columns in: that margin belongs to the list.
        if not line.startswith(margin):
            margin = ""
        rest = line[len(margin) :]
        indent = _leading(rest)
        if not indent or ("\t" not in indent and (self.to == "spaces" or len(indent) < unit)):
            return line
        columns = len(indent.expandtabs(self.width if self.to == "spaces" else unit))
        new = " " * columns if self.to == "spaces" else "\t" * (columns // unit) + " " * (columns % unit)
        return margin + new + rest[len(indent) :]


def _leading(line: str) -> str:
    found = _INDENT.match(line)
    return found.group() if found else ""
