"""Equations between numbers in running text, such as `12 × 7 = 84`, and whether they hold.

Covers: + - * / × ÷ · x between numbers, powers, brackets, percent, money signs, thousands separators, mixed numbers,
fractions, chains (`2 + 3 = 5 = 10 / 2`), full-width signs, plain LaTeX, `<<48/2=24>>` annotations. Does not cover:
numbers with a unit between them and the sign (`3 kg × 2`), letters for numbers, functions, ratios, remainders, words.
What can be read in several ways is right if one of them holds.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

NUMBER = r"\d{1,3}(?:,\d{2})*(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+"
_TOKEN = re.compile(
    rf"(?P<mixed>\d+ \d+/\d+(?!\d|\.\d))|(?P<number>{NUMBER})|(?P<power>\*\*|\^)|(?P<sign>[-+*/()%])|(?P<gap>\s+)"
)
_BACK = re.compile(r"[-+*/()%^.,\d\s]*$")
_AHEAD = re.compile(r"[-+*/()%^.,\d\s]*")
_EQUALS = re.compile(r"(?<![=<>!:~≈+*/-])=(?![=>~])")
_ANNOTATION = re.compile(r"<<([^<>]*)>>")
_PLAIN = str.maketrans("＋－−–×÷＝（）％．，０１２３４５６７８９·∙⋅［］[]", "+---*/=()%.,0123456789***()()")
_MONEY = re.compile(r"\\?[$£€¥￥]|(?<![A-Za-z])(?:US|USD|RMB|HK)(?=\s?\d)")
_SUPERSCRIPT = re.compile("[⁰¹²³⁴-⁹]+")
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")
_LATEX = (
    (re.compile(r"\\(?:times|cdot)\b"), "*"),
    (re.compile(r"\\div\b"), "/"),
    (re.compile(r"\\[dt]?frac\{([^{}]*)\}\{([^{}]*)\}"), r"((\1)/(\2))"),
    (re.compile(r"\\(?:left|right|,|;|!|\(|\)|\[|\])"), " "),
    (re.compile(r"\\%"), "%"),
    (re.compile(r"\{,\}"), ","),
)
_TIMES = re.compile(r"(?<=[\d)%])(\s?)[xX](\s?)(?=[\d(.])")
_BESIDE = re.compile(r"(?<=[\d)])(?=\((?:[-.]?\d|\())|(?<=\))(?=\d)")
"""A number beside a bracket, without a space: a product."""
_DEPENDS = re.compile(
    r"(?i)(?:\b(?:of|times|plus|minus|by|per|squared|root|sqrt|log|ln|sin|cos|tan|mod|less|more|than|and|x|step|day|part|question"
    r"|example|chapter|case|equation|number|no\.?|q)|第|的|乘以?|加上?|减去?|除以?|分之|余|比|倍)\s*$"
)
"""Before an equation, these take its first number for themselves."""
_MAGNITUDE = re.compile(
    r"(?i)\s?(?:hundred|thousand|million|billion|trillion|k\b|bn\b|dozen"
    r"|cents?\b|¢|and \(?\d|又\d|\d{3}\b|万|亿|千|百|r\s?\d|remainder|余|…|\.\.\.+\s?\d)"
)
_CONTINUES = re.compile(r"\s*[^\W\d_]+(?:[ -][^\W\d_]+)?\s*[-+*/^]\s*[\d(]")
_VARIABLE = re.compile(r"[a-zA-Zπ√](?![a-zA-Z])|_|\\|[([{]\s*[a-zA-Z]\s*[-+*/)]")
_SLACK = 1e-9


@dataclass(frozen=True, slots=True)
class Equation:
    """Two sides of one equals sign."""

    text: str
    """As read: plain signs, no units."""
    holds: bool


@dataclass(frozen=True, slots=True)
class _Side:
    text: str
    values: tuple[float, ...]
    """What it may be worth: percent as hundredths, or as it is written."""
    calculated: bool
    places: int
    """Decimal places of a plain number."""


def equations_in(text: str) -> list[Equation]:
    """The equations of a text that can be checked, in order, each once; a side must calculate something."""
    found: dict[str, Equation] = {}
    notes = _ANNOTATION.findall(text)
    for line in [*_ANNOTATION.sub("", text).split("\n"), *notes]:
        if "=" in line or "＝" in line:
            for equation in _in_line(_plain(line)):
                found.setdefault(re.sub(r"\s", "", equation.text), equation)
    return list(found.values())


def worth(text: str) -> tuple[float, ...]:
    """What a number, or a calculation, is worth: two values where a percent sign may mean a hundredth or not.

    Nothing where the text is neither.
    """
    side = _side(_plain(text).strip())
    return side.values if side else ()


def _plain(line: str) -> str:
    line = line.translate(_PLAIN)
    for pattern, sign in _LATEX:
        line = pattern.sub(sign, line)
    line = _SUPERSCRIPT.sub(lambda match: "^" + match.group().translate(_SUPERSCRIPTS), line)
    line = _MONEY.sub("", line).replace("**", "^")
    return _BESIDE.sub("*", _TIMES.sub(r"\1*\2", line))


def _in_line(line: str) -> list[Equation]:
    parts = _EQUALS.split(line)
    found = []
    for number, (left, right) in enumerate(itertools.pairwise(parts)):
        readings = _left_sides(left, whole=number > 0)
        after = _right_side(right, last=number == len(parts) - 2)
        labelled = readings and not readings[0].calculated and number == 0 and re.search(r"[^\W\d_]\s", left)
        if readings and after and not labelled and (readings[0].calculated or after.calculated):
            holds = any(_agree(before, after) for before in readings)
            found.append(Equation(f"{readings[0].text} = {after.text}", holds))
    return found


def _left_sides(text: str, *, whole: bool) -> list[_Side]:
    """The calculation that a text ends in, as it may be read; the longest first, none where a part of it is missing."""
    run = _BACK.search(text)
    if run is None or not run.group().strip():
        return []
    start = _begin(run.group()) + run.start()
    before, body = text[:start], text[start:].strip()
    if body[:2] in ("- ", "* ", "+ ") and not before.strip():
        body = body[2:]  # a bullet
    if not body or body[0] in "+*/^)" or (body[0] == "-" and before.strip(" \t:：。，,;；(")):
        return []
    if re.search(r"[A-Za-z_.^\\√)\]}|!'’°]$|\d[,:]$|[a-zA-Z\d]\($", before) or _DEPENDS.search(before):
        return []
    if whole and before.strip() and re.search(r"[-+*/^]\s*$|[\d)]\s*$", before):
        return []
    if re.search(r"[\d)]\s+$", before) and re.match(r"\(|\d{3}\b", body):
        return []  # a product without a sign, or spaces between thousands
    readings = [_side(body)]
    if re.search(r"/ ?\d+/\d", body):  # `3 / 1/4`: a fraction without spaces belongs together
        readings.append(_side(re.sub(r"(?<=/ )(\d+/\d+)|(?<=/)(\d+/\d+)$", r"(\1\2)", body)))
    dash = re.match(r"[^-]*? - (?=.*[-+*/])", body)
    if dash:  # `Monday 5 - 3 + 4 = 7`: the dash may part a label from its sum
        readings.append(_side(body[dash.end() :]))
    return [side for side in readings if side is not None][: len(readings)] if readings[0] else []


def _begin(run: str) -> int:
    """Where the last expression of a run of signs and numbers begins: after a number that no sign joins to the next."""
    begin, joined = 0, True
    opened: list[int] = []
    for token in _TOKEN.finditer(run):
        kind, sign = token.lastgroup, token.group()
        if kind == "gap":
            continue
        starts_value = kind in ("number", "mixed") or sign == "("
        if starts_value and not joined:
            begin, opened = token.start(), []
        if sign == "(":
            opened.append(token.start())
        elif sign == ")":
            if not opened:
                begin, joined = token.end(), True
                continue
            opened.pop()
        joined = not (kind in ("number", "mixed") or sign in ")%")
    rest = re.match(r"[\s,.]*", run[begin:])
    begin += rest.end() if rest and not re.match(r"\s*\.\d", run[begin:]) else 0
    return opened[-1] + 1 if opened else begin


def _right_side(text: str, *, last: bool) -> _Side | None:
    """The calculation or number that a text begins with."""
    run = _AHEAD.match(text)
    taken, rest = (run.group(), text[run.end() :]) if run else ("", text)
    end = _finish(taken)
    body, rest = taken[:end].strip(), taken[end:] + rest
    if not body or _MAGNITUDE.match(rest) or re.match(r"\s*[,:]\d|\s*[-+*/^]\s*[A-Za-z(\d\\]", rest):
        return None
    if _VARIABLE.match(rest) and not re.match(r"[mgLsh](?![a-zA-Z(])", rest):
        return None
    if _CONTINUES.match(rest):
        return None
    return _side(body)


def _finish(run: str) -> int:
    """Where the first expression of a run of signs and numbers ends."""
    end, joined, depth = 0, True, 0
    for token in _TOKEN.finditer(run):
        kind, sign = token.lastgroup, token.group()
        if kind == "gap":
            continue
        starts_value = kind in ("number", "mixed") or sign == "("
        if (starts_value and not joined) or (sign == ")" and depth == 0) or token.start() > end + 3:
            break
        depth += (sign == "(") - (sign == ")")
        joined = not (kind in ("number", "mixed") or sign in ")%")
        if not joined and depth == 0:
            end = token.end()
    return end


def _side(text: str) -> _Side | None:
    if re.search(r"(?<![\d.,])0\d", text):  # a time or a code
        return None
    values = []
    for hundredth in (0.01, 1.0) if "%" in text else (1.0,):
        try:
            values.append(_Reader(text, hundredth).value())
        except (ValueError, ZeroDivisionError, OverflowError):
            return None
    share = re.fullmatch(r"(.*[\d)])\s*([-+])\s*(\d+(?:\.\d+)?)\s*%", text)
    if share:  # `9.00 - 10%`: a tenth less
        values.append(_Reader(f"({share[1]})*(1{share[2]}{share[3]}/100)", 0.01).value())
    plain = re.fullmatch(rf"[-+]?\s?({NUMBER})\s?%?", text)
    digits = plain.group(1) if plain else ""
    places = len(digits.partition(".")[2]) if plain else 0
    return _Side(re.sub(r"\s+", " ", text), tuple(values), bool(re.search(r"[\d)%]\s*[-+*/^]", text)), places)


def _agree(left: _Side, right: _Side) -> bool:
    return any(_near(one, other, left, right) for one in left.values for other in right.values)


def _near(one: float, other: float, left: _Side, right: _Side) -> bool:
    gap, size = abs(one - other), max(1.0, abs(one), abs(other))
    if gap <= _SLACK * size:
        return True
    if left.calculated and right.calculated:  # an intermediate result may have been rounded
        rounded = any(sign in left.text + right.text for sign in "./%")
        return rounded and gap <= 0.005 * size
    exact, places = (one, right.places) if left.calculated else (other, left.places)
    if places:  # rounded, or cut off
        return gap < 10.0**-places * (1 - 1e-6) or ("%" in left.text + right.text and gap < 10.0 ** -(places + 2))
    percent = "%" in left.text + right.text and gap <= 0.005 + _SLACK
    return (abs(exact - round(exact)) > _SLACK and gap <= 0.5 + _SLACK and size > 1) or percent


class _Reader:
    """Reads one expression by precedence: sums, products, powers, brackets; percent after a value."""

    def __init__(self, text: str, hundredth: float) -> None:
        self.tokens = [t.group() for t in _TOKEN.finditer(text) if t.lastgroup != "gap"]
        if len(self.tokens) > 200 or "".join(self.tokens).replace(" ", "") != re.sub(r"\s", "", text):
            raise ValueError("not an expression")
        self.hundredth = hundredth
        self.place = 0
        self.depth = 0

    def value(self) -> float:
        result = self.sum()
        if self.place != len(self.tokens):
            raise ValueError("not an expression")
        return result

    def peek(self) -> str:
        return self.tokens[self.place] if self.place < len(self.tokens) else ""

    def take(self) -> str:
        self.place += 1
        return self.tokens[self.place - 1] if self.place <= len(self.tokens) else ""

    def sum(self) -> float:
        result = self.product()
        while self.peek() in ("+", "-"):
            result = result + self.product() if self.take() == "+" else result - self.product()
        return result

    def product(self) -> float:
        result = self.power()
        while self.peek() in ("*", "/"):
            result = result * self.power() if self.take() == "*" else result / self.power()
        return result

    def power(self) -> float:
        if self.peek() in ("-", "+"):
            return -self.power() if self.take() == "-" else self.power()
        base = self.percent()
        if self.peek() not in ("^", "**"):
            return base
        self.take()
        exponent = self.power()
        if abs(exponent) > 400 or (base < 0 and exponent != int(exponent)):
            raise ValueError("not a number")
        return float(base**exponent)

    def percent(self) -> float:
        result = self.atom()
        while self.peek() == "%":
            self.take()
            result *= self.hundredth
        return result

    def atom(self) -> float:
        token = self.take()
        if token == "(":
            self.depth += 1
            if self.depth > 50:
                raise ValueError("too deep")
            inside = self.sum()
            if self.take() != ")":
                raise ValueError("a bracket is open")
            return inside
        if " " in token:
            whole, _, fraction = token.partition(" ")
            over, _, under = fraction.partition("/")
            return float(whole) + float(over) / float(under)
        return float(token.replace(",", ""))  # raises ValueError for a sign
