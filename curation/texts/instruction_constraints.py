"""Constraints on the form of an answer that an instruction sets, and whether the answer keeps them.

Covers: numbers of words, sentences, paragraphs, bullet points and (Chinese) characters: at most, at least, between,
exactly, about; JSON; bullets and numbered lists; all lower or upper case; no commas; words to use and to avoid; first
and last words; languages with a script of their own. English and Chinese (see `constraint_phrases`). Does not
cover: constraints on parts of an answer, on what it says, or set in a system prompt. What is ambiguous is not read, and
where something can be counted in two ways, the one that speaks for the answer counts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from curation.texts import constraint_phrases as phrases

SUSPECT = (
    r"(?i)word|sentence|paragraph|bullet|character|json|upper|lower|caps|capital|comma|phrase|keyword|list|begin"
    r"|start|end|finish|conclude|answer in|respond|reply|write in|translate"
    r"|[字句段词文语]|逗号|开头|结尾|开始|结束|列表|项目符号|要点"
)
"""What every instruction with a constraint that can be read holds."""
MOST_ASKED_CHARS = 3_000
"""Of what is asked, no more is read: the beginning, and the last 500 characters."""


@dataclass(frozen=True, slots=True)
class Constraint:
    """One rule for the form of an answer."""

    name: str
    """In words, such as `at most 50 words`."""
    kept: Callable[[str], bool]
    """Whether an answer keeps it."""


def constraints_in(instruction: str) -> list[Constraint]:
    """The constraints that an instruction sets, each once, in the order of kinds.

    Args:
        instruction: the turn that is answered; what stands after a colon that ends its first paragraph is material.
    """
    asked = _asked(instruction)
    is_code = bool(phrases.CODE.search(asked))
    found = [*(() if is_code else _sizes(asked)), *(() if is_code else _wording(asked)), *_forms(asked, is_code)]
    named = {constraint.name: constraint for constraint in found}
    if any(name.endswith("bullets") for name in named):
        named.pop("bullet points", None)
    return list(named.values())


def _asked(instruction: str) -> str:
    """What is asked, without the material: of the paragraphs, the first, and the last where it speaks of the answer."""
    text = re.sub(r"```.*?(?:```|\Z)", " ", instruction, flags=re.DOTALL).strip()
    paragraphs = [part.strip() for part in re.split(r"\n\s*\n", text) if part.strip()]
    if not paragraphs:
        return ""
    first = paragraphs[0]
    first = first.split("\n")[0] if "\n" in first and first.split("\n")[0].rstrip().endswith((":", "：")) else first
    last = paragraphs[-1] if len(paragraphs) > 1 else ""
    speaks = re.search(r"(?i)\b(?:your|the) (?:entire |whole )?(?:answer|response|reply|output)\b|请|回答", last)
    asked = f"{first}\n{last}" if speaks and len(last) <= 300 else first
    # Runs of spaces and long paragraphs would cost the patterns time that grows with their square.
    asked = re.sub(r"[^\S\n]+", " ", asked)
    return asked if len(asked) <= MOST_ASKED_CHARS else f"{asked[: MOST_ASKED_CHARS - 501]}\n{asked[-500:]}"


# -------------------------------------------------------------------- sizes


def _sizes(asked: str) -> Iterator[Constraint]:
    taken: list[tuple[int, int]] = []
    found: dict[str, list[Constraint]] = {}
    plain = re.sub(r"(?: *[\"“][^\"“”\n]*[\"”])+ *", " ", asked)
    for way, pattern in phrases.SIZES:
        for match in pattern.finditer(plain):
            clear = all(match.end() <= start or match.start() >= end for start, end in taken)
            if clear and _is_of_the_answer(plain, match):
                taken.append(match.span())
                if constraint := _size(way, match):
                    found.setdefault(_unit(match["unit"]), []).append(constraint)
    for constraints in found.values():
        if len({c.name for c in constraints if not c.name.startswith("at ")}) < 2:  # else of several parts
            yield from constraints


def _is_of_the_answer(text: str, match: re.Match[str]) -> bool:
    start = max(text.rfind(sign, 0, match.start()) for sign in ".!?;\n。！？；") + 1
    before, sentence = text[start : match.start()], re.split(r"[.!?;\n。！？；]", text[start:])[0]
    if match["n"].lower() in ("a", "an") and not phrases.TELLING.search(sentence):
        return False
    if before.rstrip().endswith("answered"):
        return False
    parts = phrases.OF_PARTS.search(sentence) or phrases.AFTER_A_SIZE.match(text[match.end() :])
    looked_for = phrases.LOOKED_FOR.search(before) and not re.match(r"(?i)in(?:to)?\s", match.group())
    return not (parts or looked_for or phrases.A_PART.search(before))


def _size(way: str, match: re.Match[str]) -> Constraint | None:
    named = match.groupdict()
    unit = _unit(named["unit"])
    n = phrases.number(named["n"].lower().replace("single", "").strip() or "one")
    m = phrases.number(named["m"]) if named.get("m") else n
    if n < 1 or m < n:
        return None
    least, most, name = _bounds(way, n, m, unit)
    return Constraint(
        f"{name} {unit[:-1] if n == m == 1 else unit}", lambda answer: _within(_counts(answer, unit), least, most)
    )


def _unit(written: str) -> str:
    known = {"字": "characters", "句话": "sentences", "段": "paragraphs", "段话": "paragraphs"}
    if written in known:
        return known[written]
    written = written.lower()
    return "bullets" if written.startswith("bullet") else written.rstrip("s") + "s"


def _bounds(way: str, n: int, m: int, unit: str) -> tuple[float, float, str]:
    """Fewest, most and the name of a size; counts of words that nobody counts while writing have some slack."""
    loose = unit in ("words", "characters") and n > 10
    if way == "most":
        return 0, n, f"at most {n}"
    if way == "least":
        return n, float("inf"), f"at least {n}"
    if way == "between":
        return (0.9 * n, 1.1 * m, f"{n} to {m}") if loose else (n, m, f"{n} to {m}")
    if way == "exactly":
        return n, n, f"exactly {n}"
    if way in ("about", "size") and unit in ("words", "characters"):
        return 0.7 * n, 1.3 * n, f"about {n}"
    if loose:
        return 0, 1.1 * n, f"in {n}"
    return n, n, f"in {n}"


def _within(counts: tuple[int, ...], least: float, most: float) -> bool:
    return any(least <= count <= most for count in counts)


def _counts(answer: str, unit: str) -> tuple[int, ...]:
    """How many there are, by each of the ways to count."""
    text = answer.strip()
    if unit == "words":
        joined = len(re.findall(r"[^\W_]+(?:['’.,-][^\W_]+)*", text))
        return joined, len(re.findall(r"[^\W_]+(?:['’.,][^\W_]+)*", text)), len(text.split())
    if unit == "characters":
        runs = len(re.findall(r"[\u4e00-\u9fff]|[A-Za-z0-9]+", text))
        return runs, len(re.sub(r"\s", "", text)), len(re.sub(r"[\W_]", "", text)), len(text)
    if unit == "sentences":
        return _sentences(text)
    if unit == "bullets":
        return (len(_listed(text, r"[-*•·‣◦–]|\d+[.)、]")),)
    return len([p for p in re.split(r"\n\s*\n", text) if p.strip()]), len([p for p in text.split("\n") if p.strip()])


def _sentences(text: str) -> tuple[int, ...]:
    plain = re.sub(
        r"\b(?:Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|vs|etc|No|Inc|Ltd|Co|U\.S|U\.K|e\.g|i\.e|a\.m|p\.m|[A-Z])\.", "_", text
    )
    plain = re.sub(r"(?<=\d)\.(?=\d)|\.{3,}|(?m:^[^\S\n]*\d+[.)])", "_", plain)
    ends = re.split(r"[.!?][\"'”’)]*(?=\s|$)|[。！？][”’」』]*|\n+", plain)
    parts = len([part for part in ends if re.search(r"\w", part)])
    quoted = re.sub(r"[\"“][^\"“”\n]*[\"”]", "_", plain)
    fewer = re.split(r"[.!?](?=\s|$)|[。！？]|\n\s*\n", quoted)
    return parts, len([part for part in fewer if re.search(r"\w", part)])


def _listed(text: str, mark: str) -> list[str]:
    return re.findall(rf"(?m)^[^\S\n]*(?:{mark})\s*\S", text)


# -------------------------------------------------------------------- words


def _wording(asked: str) -> Iterator[Constraint]:
    first, last = _quoted(asked, phrases.STARTS), _quoted(asked, phrases.FINISHES)
    for quoted in first:
        yield Constraint(f"starts with “{quoted}”", _starting(quoted))
    for quoted in last:
        yield Constraint(f"ends with “{quoted}”", _ending(quoted))
    avoided = _quoted(asked, phrases.AVOIDS)
    for quoted in avoided:
        yield Constraint(f"avoids “{quoted}”", _avoiding(quoted))
    for pattern in phrases.HOLDS:
        for match in pattern.finditer(asked):
            is_question = re.match(r"[^.!。！\n]*[?？]", asked[match.end() :])
            before = re.split(r"[.!?;:\n。！？；：]", asked[: match.start()])[-1]
            is_given = is_question or phrases.GIVEN.search(before)
            if (
                " or " not in match["more"]
                and match["quoted"].strip(" .,…") not in (*first, *last, *avoided)
                and not is_given
            ):
                listed = [match["quoted"], *(m["quoted"] for m in phrases.ONE_QUOTED.finditer(match["more"]))]
                for quoted in _parted(listed):
                    yield Constraint(f"holds “{quoted}”", _holding(quoted))
    if _any(phrases.NO_COMMAS, asked):
        yield Constraint("no commas", lambda answer: not re.search("[,，]", answer))


def _parted(listed: list[str]) -> list[str]:
    """The words of several quotations, each of which may hold a list."""
    words = (word.strip(" .,!?;…。！？") for quoted in listed for word in re.split("[,，、]", quoted))
    return [word for word in words if word]


def _quoted(asked: str, patterns: tuple[re.Pattern[str], ...]) -> list[str]:
    return [match["quoted"].strip(" .,…") for pattern in patterns for match in pattern.finditer(asked)]


def _any(patterns: tuple[re.Pattern[str], ...], asked: str) -> bool:
    return any(pattern.search(asked) for pattern in patterns)


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip("*_\"'“”‘’「」 ").casefold()


def _starting(words: str) -> Callable[[str], bool]:
    return lambda answer: _plain(answer).startswith(_plain(words))


def _ending(words: str) -> Callable[[str], bool]:
    return lambda answer: _plain(answer).rstrip(".!?。！？*\"'”’ ").endswith(_plain(words).rstrip(".!?。！？"))


def _holding(words: str) -> Callable[[str], bool]:
    return lambda answer: _plain(words) in _plain(answer)


def _avoiding(words: str) -> Callable[[str], bool]:
    edges = (r"(?<!\w)", r"(?!\w)") if words.isascii() and len(words) > 1 else ("", "")
    pattern = re.compile(f"{edges[0]}{re.escape(_plain(words))}{edges[1]}")
    return lambda answer: not pattern.search(_plain(answer))


# -------------------------------------------------------------------- forms


def _forms(asked: str, is_code: bool) -> Iterator[Constraint]:
    if _any(phrases.JSON, asked):
        yield Constraint("JSON", _is_json)
    if _any(phrases.BULLETS, asked):
        yield Constraint("bullet points", lambda answer: len(_listed(answer, r"[-*•·‣◦–]|\d+[.)、]")) >= 1)
    if _any(phrases.NUMBERED, asked):
        yield Constraint("numbered list", lambda answer: len(_listed(answer, r"\d+[.)、:]|[（(]\d+[)）]")) >= 1)
    if is_code:
        return
    if _any(phrases.LOWER, asked):
        yield Constraint("lower case", lambda answer: answer == answer.lower() and answer != answer.upper())
    if _any(phrases.UPPER, asked):
        yield Constraint("upper case", lambda answer: answer == answer.upper() and answer != answer.lower())
    for pattern in phrases.LANGUAGE:
        for match in pattern.finditer(asked):
            tongue = match["tongue"].lower()
            yield Constraint(f"in {tongue}", _written_in(phrases.LANGUAGES[tongue]))
    for pattern in phrases.TRANSLATION:
        for match in pattern.finditer(asked):
            script = phrases.LANGUAGES[match["tongue"].lower()]
            if script != phrases.LANGUAGES["english"]:  # Latin letters are everywhere
                yield Constraint(f"in {match['tongue'].lower()}", _written_in(script, share=0))


def _is_json(answer: str) -> bool:
    fenced = re.search(r"```(?:json)?[^\S\n]*\n(.*?)\n?```", answer, re.DOTALL | re.IGNORECASE)
    try:
        read = json.loads(fenced[1] if fenced else answer)
    except (ValueError, RecursionError):
        return False
    return isinstance(read, dict | list)


def _written_in(script: str, share: float = 1 / 3) -> Callable[[str], bool]:
    """At least a third of the letters (names and terms may stay in another script), or any at all."""

    def kept(answer: str) -> bool:
        found = len(re.findall(script, answer))
        return found > 0 and found >= share * len(re.findall(r"[^\W\d_]", answer))

    return kept
