"""Reading what a model wrote when it was asked for several things. Pure; what is not there is left out, never guessed.

Covers, in English and Chinese: JSON (in fences, and repaired where that is safe), headings
(`Question: ...`, `**Answer**`, `### 问题 1`, `[答案]`), numbered and bulleted lists, a choice between two answers, and
a score for each of several. Does not cover: YAML, tables, tags.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from curation.language_models.json_answers import json_in
from curation.language_models.judging import scores_in

Names = Mapping[str, Sequence[str]]
"""Name of a part -> how models may call it."""

QUESTION_AND_ANSWER: Names = {
    "question": ("question", "problem", "instruction", "prompt", "q", "问题", "题目", "提问", "问", "指令"),
    "answer": ("answer", "response", "reply", "solution", "a", "答案", "回答", "解答", "答"),
}

_YES = re.compile(r"(?i)\W*(?:yes|true|y|faithful|supported|是的?|对|正确|忠实|支持)\b\W*")
_NO = re.compile(
    r"(?i)\W*(?:no|false|n|not (?:faithful|supported)|unfaithful|unsupported|否|不是|不对|错误?|不忠实|不支持)\b\W*"
)
_THIS = r"(?:the )?(?:{0}|answer (?:{1}|{2})|{1}|{2})(?: (?:answer|one))?|(?:答案|回答)\s*(?:{1}|{2}|{3}|{4})|"
_THIS += r"第{3}个?(?:答案|回答)?|{5}|{4}"
_FIRST = _THIS.format("first", "a", "1", "一", "甲", "前者")
_SECOND = _THIS.format("second", "b", "2", "二", "乙", "后者")
_TIE = r"tie|equal|both|neither|same|平局|平手|相同|一样|都不|两者"
_BETTER: Names = {
    "better": (
        *("better", "winner", "preferred", "verdict", "choice"),
        *("更好", "更好的", "更好的是", "胜者", "结论", "选择"),
    ),
}


def parts(reply: str, names: Names) -> dict[str, str]:
    """The named parts of a reply, each once; those that it lacks are left out."""
    return next(iter(several(reply, names)), {})


def several(reply: str, names: Names) -> list[dict[str, str]]:
    """Groups of named parts, such as questions with their answers, in order.

    A JSON object is a group; without one a group begins at each heading with the first name. A group may lack a part.
    """
    keys = {_key(alias): name for name, aliases in names.items() for alias in aliases}
    return _named(objects(reply), keys) or _headed(reply, names) or _named(_plain_objects(json_in(reply).value), keys)


def _named(read: Iterable[dict[str, Any]], keys: Mapping[str, str]) -> list[dict[str, str]]:
    found = (
        {keys[_key(key)]: _text(value) for key, value in reversed(one.items()) if _key(key) in keys} for one in read
    )
    return [group for group in found if group]


def whole_text(reply: str, names: Names) -> str:
    """The one text that was asked for: without a heading, a remark or braces before it, and with all that follows.

    Args:
        reply: what the model wrote.
        names: one part; headings of its names within the text are left, as they belong to it.
    """
    text = reply.strip()
    fenced = re.fullmatch(r"```\w*[ \t]*\n(.*)\n```", text, re.DOTALL)
    if (fenced[1] if fenced else text).lstrip().startswith("{") and (found := parts(text, names)):
        return next(iter(found.values()))
    remark = re.match(
        rf"(?i)(?:sure|certainly|of course|好的|当然)?\W{{0,3}}(?:here(?:'s|’s| is)|以下是|下面是)[^\n]{{0,60}}"
        rf"(?:{_spelt(names)})[^\n]{{0,30}}[:：]\s*\n",
        text,
    )
    text = text[remark.end() :].strip() if remark else text
    heading = _heading(names).match(text)
    told = heading and (len(heading[1]) > 1 or re.search("[:：]", heading.group()))
    return _undressed(text[heading.end() :]) if heading and told and text[heading.end() :].strip() else text


def listed(reply: str) -> list[str]:
    """The lines of a list: a JSON list of texts, or lines with numbers or bullets, else every line."""
    for text in _fenced(reply):
        for start in (place for place, sign in enumerate(text) if sign == "["):
            read = _loaded_from(text[start:])
            if isinstance(read, list) and read and all(isinstance(one, str) for one in read):
                return _distinct(one.strip() for one in read)
    lines = [line.strip() for line in reply.splitlines() if line.strip() and not line.strip().startswith("```")]
    mark = re.compile(r"^(?:[-*•·]|\(?\d{1,3}[.)、．:：]|（\d{1,3}）)\s*")
    marked = [line for line in lines if mark.match(line)]
    texts = (mark.sub("", line).strip('*_ "“”') for line in marked or lines)
    return _distinct(text for text in texts if text)


def said_yes(text: str) -> bool | None:
    """Whether a short text says yes or no, in English or Chinese; null where it says neither."""
    plain = re.split(r"[\n,，.。;；(（]", text.strip())[0]
    return False if _NO.fullmatch(plain) else True if _YES.fullmatch(plain) else None


def better_of_two(reply: str) -> Literal["first", "second", "tie"] | None:
    """Which of two answers, shown as A and B, a judge prefers; null where it can't be read."""
    marked = re.findall(r"\[\[\s*([ABC])\s*\]\]", reply)
    lines = [line for line in reply.strip().splitlines() if line.strip()]
    said = parts(reply, _BETTER).get("better") or (marked[-1] if marked else lines[-1] if lines else "")
    plain = re.sub(r"[*_`\"'“”\[\]{}【】()（）.。:：]", " ", said.split("\n")[0]).strip()
    plain = re.sub(r"\s+", " ", re.sub(r"(?i)\b(?:is )?better\b|更好", " ", plain)).strip()
    if re.fullmatch(rf"(?i)(?:it is |it's )?(?:a )?(?:{_TIE}|c)\b.*", plain):
        return "tie"
    if re.fullmatch(rf"(?i){_FIRST}", plain):
        return "first"
    return "second" if re.fullmatch(rf"(?i){_SECOND}", plain) else None


def scores_of(reply: str, count: int, lowest: float, highest: float) -> list[float] | None:
    """A score for each of `count` answers, in the order they were shown; null unless each has one within range."""
    bare = (_loaded_from(found) for found in re.findall(r"\[[\d\s.,]{1,400}\]", reply))
    lists = [value for read in objects(reply) for value in read.values() if isinstance(value, list)] or list(bare)[-1:]
    for value in lists:
        values = [_score(one, lowest, highest) for one in value] if isinstance(value, list) else []
        if len(values) == count and None not in values:
            return [value for value in values if value is not None]
    for name in ("answer {}", "answer{}", "response {}", "答案 {}", "答案{}", "回答 {}", "回答{}", "{}"):
        names = [name.format(place) for place in range(1, count + 1)]
        found = scores_in(reply, names, lowest, highest) if count > 1 else {}
        values = [found.get(each) for each in names]
        if None not in values:
            return [value for value in values if value is not None]
    return None


def _score(value: Any, lowest: float, highest: float) -> float | None:
    if isinstance(value, dict):
        value = next((inner for key, inner in value.items() if _key(key) in ("score", "rating", "评分", "分数")), None)
    if isinstance(value, str):
        value = float(value) if re.fullmatch(r"\d{1,9}(?:\.\d{1,9})?", value.strip()) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if lowest <= value <= highest else None


def objects(reply: str) -> Iterator[dict[str, Any]]:
    """The JSON objects of a reply, the outermost that hold plain values first, in order of their place."""
    for text in _fenced(reply):
        found, place = False, 0
        while (place := text.find("{", place)) >= 0:
            end = _closing(text, place)
            read = _loaded(text[place:end]) if end else None
            if read is None:
                place += 1
                continue
            found = True
            yield from _plain_objects(read)
            assert end is not None
            place = end
        if found:
            return


def _plain_objects(value: Any) -> Iterator[dict[str, Any]]:
    """An object; or, where all that it holds are lists of objects, these."""
    if isinstance(value, list):
        for one in value:
            yield from _plain_objects(one)
    elif isinstance(value, dict):
        inner = [one for one in value.values() if isinstance(one, list) and one and isinstance(one[0], dict)]
        if inner and len(inner) == len(value):
            yield from _plain_objects([one for each in inner for one in each])
        else:
            yield value


def _fenced(reply: str) -> list[str]:
    """What stands in fences, the last first, and then the whole."""
    inside = re.findall(r"```[\w+-]*[ \t]*\n(.*?)(?:\n[ \t]*```|\Z)", reply, re.DOTALL)
    return [*reversed(inside), reply]


def _closing(text: str, start: int) -> int | None:
    """Where the brace at `start` closes; null where it never does."""
    depth, quoted, place = 0, False, start
    while place < len(text):
        sign = text[place]
        if quoted:
            place += sign == "\\"
            quoted = sign != '"'
        elif sign == '"':
            quoted = True
        elif sign in "{}":
            depth += 1 if sign == "{" else -1
            if depth == 0:
                return place + 1
        place += 1
    return None


def _loaded(text: str) -> dict[str, Any] | None:
    for attempt in (text, re.sub(r",\s*(?=[}\]])", "", text)):
        try:
            read = json.loads(attempt, strict=False)
        except (ValueError, RecursionError):
            continue
        return read if isinstance(read, dict) else None
    return None


def _loaded_from(text: str) -> Any:
    """The JSON value that a text begins with."""
    try:
        return json.JSONDecoder(strict=False).raw_decode(re.sub(r",\s*(?=\])", "", text))[0]
    except (ValueError, RecursionError):
        return None


def _headed(reply: str, names: Names) -> list[dict[str, str]]:
    """Parts of a text with headings; the text of one goes to the next heading."""
    keys = {_key(alias): name for name, aliases in names.items() for alias in aliases}
    first = next(iter(names))
    groups: list[list[tuple[str, int, int]]] = []
    for match in _heading(names).finditer(reply):
        if len(match[1]) == 1 and not re.search("[:：]", match.group()):
            continue  # a line that is but one letter
        name = keys[_key(match[1])]
        if not groups or (name == first and name in [known for known, *_ in groups[-1]]):
            groups.append([])
        if name not in [known for known, *_ in groups[-1]]:
            groups[-1].append((name, match.start(), match.end()))
    marks = [mark for group in groups for mark in group]
    ends = [*(start for _, start, _ in marks), len(reply)][1:]
    texts = iter([_undressed(reply[end:until]) for (_, _, end), until in zip(marks, ends, strict=True)])
    return [{name: next(texts) for name, *_ in group} for group in groups]


def _heading(names: Names) -> re.Pattern[str]:
    return re.compile(
        rf"^[ \t>#*_\-\[【（(]*(?:\d{{1,3}}[.)、．]\s*)?[*_\[【]*({_spelt(names)})[ \t]*\d{{0,3}}"
        r"[ \t\]】）)*_#]*(?:[:：]|$)[ \t*_]*",
        re.IGNORECASE | re.MULTILINE,
    )


def _spelt(names: Names) -> str:
    aliases = [alias for each in names.values() for alias in each]
    return "|".join(re.escape(alias) for alias in sorted(aliases, key=len, reverse=True))


def _undressed(text: str) -> str:
    """Without the rules and the bold that models put around a part."""
    return re.sub(r"\n\s*(?:-{3,}|={3,}|\*{3,})\s*$", "", text.strip()).strip()


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _key(name: Any) -> str:
    return re.sub(r"[\s_-]+", "", str(name)).casefold()


def _distinct(texts: Iterator[str] | Any) -> list[str]:
    return list(dict.fromkeys(text for text in texts if text))
