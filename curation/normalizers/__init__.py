"""The normalizers. A new one is a file with a class, and its entry in `NORMALIZERS`."""

from __future__ import annotations

from curation.normalizers.boilerplate import Boilerplate
from curation.normalizers.code_indentation import CodeIndentation
from curation.normalizers.encoding import Encoding
from curation.normalizers.latex_delimiters import LatexDelimiters
from curation.normalizers.reasoning import Reasoning
from curation.normalizers.redact import Redact
from curation.normalizers.unicode import Unicode
from curation.normalizers.whitespace import Whitespace
from curation.operators import Normalizer

__all__ = [
    "NORMALIZERS",
    "Boilerplate",
    "CodeIndentation",
    "Encoding",
    "LatexDelimiters",
    "Reasoning",
    "Redact",
    "Unicode",
    "Whitespace",
]

NORMALIZERS: tuple[type[Normalizer], ...] = (
    Whitespace,
    Unicode,
    Encoding,
    CodeIndentation,
    LatexDelimiters,
    Boilerplate,
    Reasoning,
    Redact,
)
