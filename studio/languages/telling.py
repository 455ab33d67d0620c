"""Texts with their values already in them, put into another language.

Errors, progress and advice are made below the pages, in English, and may have been stored: "No embedding 'x' in demo."
The catalogues hold their templates with numbered holes, `No embedding {0} in {1}.`; a text is matched with them, and
what stands in its holes goes into the holes of the translation.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass, field

DEEP = 3
"""Texts within texts (the reason in an error) that are put into the other language."""


LONGEST = 100_000
"""Characters of a text that is looked for: what is longer is no message but data."""

FIRST, MOST_BEGINNINGS = 3, 4_096
"""First letters by which templates are looked up, and how many of such are remembered."""
FEW = 6
"""Letters under which a template's own words tell little."""


@dataclass(frozen=True, slots=True)
class Template:
    """The words of a text before, between and after its values."""

    words: tuple[str, ...]
    holes: tuple[int, ...]
    said: str
    """The translation."""

    @property
    def weak(self) -> bool:
        """Whether it has too few words of its own to tell a text by."""
        return sum(map(str.isalpha, "".join(self.words))) < FEW

    def values(self, text: str) -> list[str] | None:
        """What stands in the holes of a text; null where its words are others. Takes time linear in the text."""
        first, *between, last = self.words
        end = len(text) - len(last)
        if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
            return None
        found, at = [], len(first)
        for words in between:
            # The leftmost place: if any choice of places fits, this one does.
            place = text.find(words, at, end)
            if place < 0:
                return None
            found.append(text[at:place])
            at = place + len(words)
        return [*found, text[at:end]]


@dataclass(frozen=True, slots=True)
class Telling:
    """All that one language has for texts with values in them."""

    whole: Mapping[str, str]
    templates: tuple[Template, ...]
    """Those with the most words first."""
    begun: dict[str, tuple[Template, ...]] = field(default_factory=dict)
    """The first letters of a text -> the templates that can begin so, found when first asked for."""

    @classmethod
    def of(cls, catalogue: Mapping[str, str]) -> Telling:
        """The templates among the texts of a catalogue."""
        made = [template for text, said in catalogue.items() if (template := _template(text, said)) is not None]
        made.sort(key=lambda template: (-sum(map(len, template.words)), len(template.holes)))
        return cls(catalogue, tuple(made))

    def told(self, text: str, deep: int = DEEP) -> str:
        """The text in this language, or as it is."""
        if (said := self._whole(text)) is not None:
            return said
        for template in self._near(text) if deep and len(text) < LONGEST else ():
            values = template.values(text)
            if values is not None and (said := self._filled(template, values, deep)) is not None:
                return said
        return text

    def _near(self, text: str) -> tuple[Template, ...]:
        begin = text[:FIRST]
        if (near := self.begun.get(begin)) is None:
            near = tuple(template for template in self.templates if begin.startswith(template.words[0][:FIRST]))
            if len(self.begun) < MOST_BEGINNINGS:
                self.begun[begin] = near
        return near

    def _filled(self, template: Template, values: list[str], deep: int) -> str | None:
        turned = {hole: self._value(value, deep) for hole, value in zip(template.holes, values, strict=True)}
        # A few words, such as "{0}: {1}", stand in many texts: all that is between them must be known as well.
        if template.weak and any(" " in new and new in values for new in turned.values()):
            return None
        return template.said.format(*(turned[hole] for hole in range(len(turned))))

    def _whole(self, text: str) -> str | None:
        said = self.whole.get(text)
        if said is not None or "{" not in text:
            return said
        # Braces are doubled in a catalogue's templates, and in no text.
        said = self.whole.get(text.replace("{", "{{").replace("}", "}}"))
        return None if said is None else said.replace("{{", "{").replace("}}", "}")

    def _value(self, value: str, deep: int) -> str:
        # One word is a name or a number; a reason or a hint has several.
        return self.told(value, deep - 1) if " " in value.strip() else value


def _template(text: str, said: str) -> Template | None:
    if "{0}" not in text:
        return None
    words, holes = [""], []
    for literal, hole, _, _ in string.Formatter().parse(text):
        words[-1] += literal
        if hole is not None:
            holes.append(int(hole))
            words.append("")
    return Template(tuple(words), tuple(holes), said)
