"""Personal data in a text: which kind, and where. Check digits are checked, so that an order number is no card.

Covers: e-mail addresses; payment cards and IBANs; Chinese resident numbers, United States social security numbers and
passports; telephone numbers with a country code or as written in China and North America, others where a word such as
`phone` or `电话` announces them; public IP addresses. Does not cover: names, postal addresses, dates, passwords.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

KINDS = ("email", "card", "id", "phone", "ip")
"""What can be found; an IBAN is a `card`."""

REACH = 40
"""Characters before a number in which the word that announces it is looked for, within the same sentence."""


@dataclass(frozen=True, slots=True)
class Found:
    """A piece of personal data."""

    kind: str
    """One of `KINDS`."""
    start: int
    end: int
    """Characters from `start` up to, without, `end`."""


def spans(text: str, kinds: Collection[str] = KINDS) -> list[Found]:
    """The personal data of these kinds, by position; no two overlap."""
    if "@" not in text and not _NUMBER_LIKE.search(text):
        return []
    taken: list[Found] = []
    for kind, pattern, holds in _RULES:
        if kind not in kinds or (kind == "email" and "@" not in text):
            continue
        for match in pattern.finditer(text):
            start, end = match.span()
            free = all(end <= other.start or other.end <= start for other in taken)
            if free and holds(match.group(), text[max(0, start - REACH) : start]):
                taken.append(Found(kind, start, end))
    return sorted(taken, key=lambda found: found.start)


def looks_personal(texts: pl.Expr) -> pl.Expr:
    """Whether a text must be looked at closely: true for every text in which `spans` finds something, and for more."""
    return texts.str.contains(_SUSPECT).fill_null(False)


def kinds_in(texts: pl.Series) -> pl.Series:
    """The kinds in each text, once each, in the order of `KINDS`, joined by commas; null where there is none."""
    import polars as pl

    name = texts.name or "texts"
    places = texts.alias(name).to_frame().select(looks_personal(pl.col(name))).to_series().arg_true()
    named = [_named(spans(text)) for text in texts.gather(places)]
    none = pl.Series(name, [None], dtype=pl.String).new_from_index(0, len(texts))
    return none.scatter(places, pl.Series(named, dtype=pl.String))


def _named(found: Collection[Found]) -> str | None:
    there = {piece.kind for piece in found}
    return ", ".join(kind for kind in KINDS if kind in there) or None


# -------------------------------------------------------------------- check digits


def _digits(text: str) -> str:
    return re.sub(r"[^0-9]", "", text)


def luhn_holds(number: str) -> bool:
    """Whether the last digit is the check digit of ISO/IEC 7812 (Luhn) for the others; all zeros is no number."""
    digits = [int(d) for d in _digits(number)]
    doubled = [sum(divmod(2 * d, 10)) for d in digits[-2::-2]]
    return any(digits) and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def resident_id_holds(number: str) -> bool:
    """Whether an 18-character Chinese identity number has a birthday and the check character of GB 11643-1999."""
    try:
        born = date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    except ValueError:
        return False
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    total = sum(weight * int(digit) for weight, digit in zip(weights, number[:17], strict=True))
    return 1800 < born.year < 2100 and "10X98765432"[total % 11] == number[17].upper()


def iban_holds(number: str) -> bool:
    """Whether an IBAN's two check digits hold (ISO 13616: the number, turned round, is 1 modulo 97)."""
    plain = number.replace(" ", "")
    turned = plain[4:] + plain[:4]
    return 15 <= len(plain) <= 34 and int("".join(str(int(c, 36)) for c in turned)) % 97 == 1


# -------------------------------------------------------------------- what counts


def _announcing(words: str, chinese: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![a-z])(?:{words})(?![a-z])|{chinese}", re.IGNORECASE)


_PHONE_WORDS = _announcing(
    r"(?:tele|cell)?phone(?: ?numbers?)?|tel|call|reach|ring|fax|mobile|cell|contact|whatsapp|hotline|dial"
    r"|(?:my|our) number|text (?:me|us)",
    "电话|手机|座机|联系|致电|拨打|热线|传真",
)
_ID_WORDS = _announcing(
    r"passport|identity|(?:national|student|tax) id|id (?:card|number|no)|ssn|social security"
    r"|driv(?:er.?s|ing) licen[cs]e",
    "身份证|证件|护照|驾照|社保",
)
_CARD_WORDS = _announcing(r"card|visa|mastercard|debit|amex|account", "卡号|银行卡|信用卡|会员卡|账号|账户")
_SENTENCE_END = re.compile(r"[.!?](?=\s)|[。！？\n]")
_NOT_MAIL = re.compile(r"\.(?:png|jpe?g|gif|svg|webp|css|js|py|json|html?|md|txt)$|^git@", re.IGNORECASE)
_VERSION = re.compile(r"(?:version|release|build|ver\.?|[^/]/)\s*$", re.IGNORECASE)
_WRITTEN_AS_PHONE = re.compile(r"\([0-9]{3}\).+|(?:1[-. ])?[0-9]{3}([-.])[0-9]{3}\1[0-9]{4}|0[0-9]{2,3}-[0-9]{7,8}")
_CHINESE_MOBILE = re.compile(r"1[3-9][0-9]{9}")
_YEARS = re.compile(r"(?:1[5-9]|20)[0-9]{2}[- ](?:1[5-9]|20)[0-9]{2}")


def _announced(words: re.Pattern[str], before: str) -> bool:
    return bool(words.search(_SENTENCE_END.split(before)[-1]))


def _is_email(text: str, before: str) -> bool:
    return not _NOT_MAIL.search(text)


def _is_card(text: str, before: str) -> bool:
    digits = _digits(text)
    issued = digits[0] in "3456" or "22" <= digits[:2] <= "27"
    return (issued and len(set(digits)) > 2 and luhn_holds(digits)) or _announced(_CARD_WORDS, before)


def _is_iban(text: str, before: str) -> bool:
    return iban_holds(text)


def _is_id(text: str, before: str) -> bool:
    # Three groups joined by hyphens are how a social security number looks, and little else does.
    if "-" in text or _announced(_ID_WORDS, before):
        return True
    return len(text) == 18 and resident_id_holds(text)


def _is_phone(text: str, before: str) -> bool:
    digits = _digits(text)
    if text.startswith("+"):
        return 8 <= len(digits) <= 15
    if _WRITTEN_AS_PHONE.fullmatch(text) or (_CHINESE_MOBILE.fullmatch(digits) and not digits.endswith("0000")):
        return True
    return not _YEARS.fullmatch(text) and _announced(_PHONE_WORDS, before)


def _is_public_address(text: str, before: str) -> bool:
    # Loopback, private and documentation addresses belong to nobody; four numbers may be a version, too.
    try:
        return ipaddress.ip_address(text).is_global and not _VERSION.search(before)
    except ValueError:
        return False


# -------------------------------------------------------------------- what it looks like

_SUSPECT = (
    r"@[A-Za-z0-9]|[0-9](?:[-. ()]{0,3}[0-9]){6}|[0-9]\.[0-9]+\.[0-9]|[23][0-9A-Fa-f]{3}:|[A-Z]{2}[0-9]{2}[ A-Z0-9]{11}"
)
_NUMBER_LIKE = re.compile(
    r"[0-9][-. ()0-9:A-Fa-f]{5}"
)  # one set to begin with: Python looks for it three times as fast
_EMAIL = r"(?<![A-Za-z0-9._%+\\-])[A-Za-z0-9][A-Za-z0-9._%+-]*@(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,24}(?![A-Za-z0-9-])"
_CARD = r"[0-9]{4}(?:[- ]?[0-9]{4}){3}(?:[- ]?[0-9]{3})?|3[47][0-9]{2}[- ]?[0-9]{6}[- ]?[0-9]{5}"
_IBAN = r"[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?"
_ID = r"[0-9]{3}-[0-9]{2}-[0-9]{4}|[0-9]{17}[0-9Xx]|[A-Za-z]{0,2}[0-9]{7,9}"
_PHONE = (
    r"\+[1-9][0-9]{0,2}[-. ]?\(?[0-9]{1,4}\)?(?:[-. ]?[0-9]{2,4}){2,4}"
    r"|(?:1[-. ])?\(?[0-9]{3}\)?[-. ]{0,2}[0-9]{3}[-. ][0-9]{4}"
    r"|1[3-9][0-9](?:[- ]?[0-9]{4}){2}"
    r"|\(?0[1-9][0-9]{1,2}\)?[- ]?[0-9]{7,8}"
    r"|400[- ]?[0-9]{3,4}[- ]?[0-9]{3,4}"
    r"|[0-9]{3,4}[- ][0-9]{4}|[0-9]{7,11}"
)
_IP = r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[23][0-9A-Fa-f]{3}(?::[0-9A-Fa-f]{0,4}){2,7}"


def _whole(pattern: str) -> re.Pattern[str]:
    # Not a part of a longer word, number, date or version. \b is of no use: to it, a Chinese character is a letter.
    return re.compile(rf"(?<![0-9A-Za-z_])(?<![0-9][-.,:/])(?:{pattern})(?![0-9A-Za-z_])(?![-.,:/][0-9])")


_RULES: tuple[tuple[str, re.Pattern[str], Callable[[str, str], bool]], ...] = (
    ("email", re.compile(_EMAIL), _is_email),
    ("ip", _whole(_IP), _is_public_address),
    ("id", _whole(_ID), _is_id),
    ("card", _whole(_CARD), _is_card),
    ("card", _whole(_IBAN), _is_iban),
    ("phone", _whole(_PHONE), _is_phone),
)
"""In the order in which overlapping finds are settled."""
