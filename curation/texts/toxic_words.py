r"""Toxic words with a severity, English and Chinese; written for this project, small on purpose.

The Latin words are stored in rot13 and the Chinese ones as escapes, so that the source can be read in company.

Covers: the commonest slurs, curses, threats and insults, matched as whole words (English) or as they stand (Chinese).
Does not cover: toxic talk without such words, other languages, spellings that dodge filters. Left out are words with an
innocent meaning that is commoner in training data: embankments, cats, chinks in armour, `\u652f\u90a3` in Indochina.
"""

from __future__ import annotations

import codecs

_ENGLISH = {
    1.0: "avttre avttn snttbg xvxr fcvp tbbx jrgonpx genaal enturnq gbjryurnq fhouhzna xvyy+lbhefrys tb+qvr",
    0.6: "shpx shpxre shpxvat shpxrq zbgureshpxre fuvg fuvggl "
    "ohyyfuvg fuvgurnq ovgpu ovgpurf phag nffubyr nefrubyr onfgneq qvpxurnq "
    "pbpxfhpxre juber fyhg gjng jnaxre qhzonff qbhpuront ergneqrq",
    0.3: "qnza tbqqnza penc cvff cvffrq obyybpxf vqvbg zbeba vzorpvyr fphzont qvzjvg ybjyvsr",
}
_CHINESE = {
    1.0: "\u9ed1\u9b3c \u652f\u90a3\u732a \u6b7b\u5168\u5bb6 \u53bb\u6b7b\u5427 \u4f60\u53bb\u6b7b \u5f04\u6b7b\u4f60 "
    "\u6b7b\u57fa\u4f6c \u6b7b\u53d8\u6001",
    0.6: "\u50bb\u903c \u50bb\u5c44 \u715e\u7b14 \u50bb\u6bd4 \u64cd\u4f60\u5988 \u8349\u6ce5\u9a6c \u808f\u4f60 "
    "\u65e5\u4f60\u5988 \u5e72\u4f60\u5a18 \u4ed6\u5988\u7684 \u5988\u4e86\u4e2a\u903c \u5988\u903c \u738b\u516b\u86cb "
    "\u72d7\u5a18\u517b \u72d7\u6742\u79cd \u5a4a\u5b50 \u8d31\u4eba \u8d31\u8d27 \u72d7\u65e5\u7684 \u81ed\u5a4a "
    "\u9e21\u5df4 \u6eda\u4f60\u5988",
    0.3: "\u6df7\u86cb \u767d\u75f4 \u8111\u6b8b \u5f31\u667a \u6eda\u86cb \u755c\u751f \u8822\u732a \u8822\u8d27 "
    "\u88c5\u903c \u725b\u903c \u4ed6\u5976\u5976\u7684 \u72d7\u4e1c\u897f \u8001\u4e0d\u6b7b",
}


def _listed() -> dict[str, float]:
    english = {
        codecs.decode(word, "rot13").replace("+", " "): severity
        for severity, words in _ENGLISH.items()
        for word in words.split()
    }
    return english | {word: severity for severity, words in _CHINESE.items() for word in words.split()}


SEVERITY: dict[str, float] = _listed()
"""Word in lower case -> 0.3 (rude), 0.6 (obscene or abusive), 1.0 (a slur or a threat)."""

_LATIN = "|".join(word.replace(" ", r"\s+") for word in SEVERITY if word.isascii())
PATTERN = rf"(?i)\b(?:{_LATIN})s?\b|{'|'.join(word for word in SEVERITY if not word.isascii())}"
"""A plural counts as its word."""


def severity_of(word: str) -> float:
    """How severe a word that `PATTERN` found is."""
    plain = " ".join(word.lower().split())
    forms = (plain, plain.removesuffix("s"))
    return next(SEVERITY[form] for form in forms if form in SEVERITY)
