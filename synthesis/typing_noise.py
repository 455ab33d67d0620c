"""What goes wrong when people type: by rule, from a random state, in English and Chinese. Pure.

What an answer depends on is left as it is: code, quoted texts, addresses, formulas, and words with a digit in them.
Covers: slips of the finger on a QWERTY keyboard, letters swapped, doubled and left out, missing punctuation, case,
Chinese characters of the same sound, English words in Chinese and Chinese words in English. Does not cover: strokes and
shapes of Chinese characters, other keyboards, other languages than these two.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Literal, get_args

Kind = Literal["typos", "keyboard", "punctuation", "case", "mixed"]
KINDS: tuple[Kind, ...] = get_args(Kind)

KEPT = re.compile(
    r"```.*?(?:```|\Z)|`[^`\n]+`|\$[^$\n]+\$|\\\(.*?\\\)|\\\[.*?\\\]|\w+://\S+|\S+@\S+\.\S+|<[^<>\n]{1,80}>"
    r"|\"[^\"\n]{1,400}\"|“[^”\n]{1,400}”|「[^」\n]{1,400}」|《[^》\n]{1,80}》|[A-Za-z_.-]*[0-9０-９](?:[0-9０-９A-Za-z_.%:/-]|,(?=[0-9]))*",
    re.DOTALL,
)
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_WORD = re.compile(r"[A-Za-z]{4,}")
_LETTER = re.compile(r"[A-Za-z]")
_SAME_SOUND = (
    "的得地", "在再", "做作", "以已", "那哪", "他她它", "像象", "即既", "和合", "是事", "有又", "请清", "写些", "问文",
    "个各", "会回", "里理", "解姐", "首手", "名明", "人仁", "为位", "时使", "用永", "中种", "要药",
)  # fmt: skip
"""Characters that an input method offers for the same syllable, tones apart."""
_SOUNDS = {char: [other for other in group if other != char] for group in _SAME_SOUND for char in group}
_ENGLISH = {
    "请": "please", "谢谢": "thanks", "问题": "question", "例子": "example", "总结": "summary", "文章": "article",
    "邮件": "email", "计划": "plan", "项目": "project", "列表": "list", "代码": "code", "标题": "title",
    "建议": "advice", "步骤": "steps", "帮我": "help me", "比较": "compare", "解释": "explain", "翻译": "translate",
}  # fmt: skip
_CHINESE = {
    "please": "请", "explain": "解释", "example": "例子", "examples": "例子", "summary": "总结", "compare": "比较",
    "list": "列出", "question": "问题", "steps": "步骤", "plan": "计划", "advice": "建议", "article": "文章",
    "title": "标题", "reasons": "理由", "difference": "区别", "write": "写", "short": "短的", "why": "为什么",
}  # fmt: skip
_MARKS = re.compile(r"[.,;:!?'，。；：！？、](?=\s|$|[\u3400-\u9fff])|(?<=\w)'(?=\w)")


def noisy(text: str, kind: Kind, strength: float, rng: random.Random) -> str:
    """The text with slips of one kind; the same where nothing in it can slip.

    Args:
        text: of an instruction.
        kind: of the slips.
        strength: share of the places that slip, 0..1; at least one does.
        rng: decides where and how.
    """
    if "\0" in text:  # it parts what may change
        return text
    parts: list[str] = []
    end = 0
    for kept in KEPT.finditer(text):
        parts += [text[end : kept.start()], kept.group()]
        end = kept.end()
    free = [*parts[::2], text[end:]]
    changed = _WAYS[kind]("\0".join(free), strength, rng).split("\0")
    whole = "".join(part for pair in zip(changed, [*parts[1::2], ""], strict=True) for part in pair)
    return whole if text[:1].isspace() else whole.lstrip()


def _typos(text: str, strength: float, rng: random.Random) -> str:
    """Letters swapped, left out or doubled; Chinese characters of the same sound."""
    words = list(_WORD.finditer(text))
    places = [(m.start(), m.end()) for m in words] + [(i, i + 1) for i, c in enumerate(text) if c in _SOUNDS]
    return _replaced(text, sorted(places), strength, rng, lambda old: _misspelt(old, rng))


def _misspelt(word: str, rng: random.Random) -> str:
    if word in _SOUNDS:
        return rng.choice(_SOUNDS[word])
    at = rng.randrange(1, len(word) - 1)  # the first and the last letter are the ones that people get right
    swapped = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    dropped, doubled = word[:at] + word[at + 1 :], word[:at] + word[at] + word[at:]
    return rng.choice([one for one in (swapped, dropped, doubled) if one != word])


def _keyboard(text: str, strength: float, rng: random.Random) -> str:
    """A neighbouring key; of Chinese, as it is typed by sound, a character of the same sound."""
    places = [(i, i + 1) for i, c in enumerate(text) if _LETTER.match(c) or c in _SOUNDS]
    return _replaced(text, places, strength / 3, rng, lambda old: _neighbour(old, rng))


def _neighbour(letter: str, rng: random.Random) -> str:
    if letter in _SOUNDS:
        return rng.choice(_SOUNDS[letter])
    row = next(row for row in _ROWS if letter.lower() in row)
    at = row.index(letter.lower())
    near = rng.choice(row[max(0, at - 1) : at] + row[at + 1 : at + 2])
    return near.upper() if letter.isupper() else near


def _punctuation(text: str, strength: float, rng: random.Random) -> str:
    """Marks left out, about ten times as many as words are misspelt."""
    places = [m.span() for m in _MARKS.finditer(text)]
    return _replaced(text, places, min(1.0, 10 * strength), rng, lambda old: "")


def _case(text: str, strength: float, rng: random.Random) -> str:
    """All small, all capital, or capitals here and there."""
    way = rng.choice(("lower", "lower", "upper", "mixed"))
    if way != "mixed":
        return text.lower() if way == "lower" else text.upper()
    places = [(m.start(), m.end()) for m in re.finditer(r"[A-Za-z]+", text)]
    return _replaced(text, places, min(1.0, 3 * strength), rng, lambda old: old.swapcase())


def _mixed(text: str, strength: float, rng: random.Random) -> str:
    """Words of the other language."""
    spelt = "|".join(sorted(map(re.escape, _ENGLISH), key=len, reverse=True))
    places = [m.span() for m in re.finditer(rf"{spelt}|\b(?:{'|'.join(_CHINESE)})\b", text, re.IGNORECASE)]

    def other(old: str) -> str:
        return f" {_ENGLISH[old]} " if old in _ENGLISH else _CHINESE[old.lower()]

    return re.sub(r" {2,}", " ", _replaced(text, places, min(1.0, 6 * strength), rng, other))


def _replaced(
    text: str, places: list[tuple[int, int]], share: float, rng: random.Random, change: Callable[[str], str]
) -> str:
    """The text with a share of the places changed, at least one."""
    if not places:
        return text
    count = max(1, round(share * len(places)))
    for start, end in sorted(rng.sample(places, min(count, len(places))), reverse=True):
        text = text[:start] + change(text[start:end]) + text[end:]
    return text


_WAYS: dict[Kind, Callable[[str, float, random.Random], str]] = {
    "typos": _typos,
    "keyboard": _keyboard,
    "punctuation": _punctuation,
    "case": _case,
    "mixed": _mixed,
}
