"""Feedback on an answer, as logs write it: thumbs, words, ratings, edits, other answers."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from typing import Any

from curation.files.pairs import answered_pair
from curation.files.turns import Row

UP_FLAGS = ("thumbs_up", "thumb_up", "upvoted")
DOWN_FLAGS = ("thumbs_down", "thumb_down", "downvoted", "disliked")
JUDGED = ("feedback", "thumbs", "thumb", *UP_FLAGS, *DOWN_FLAGS, "vote", "reaction", "liked", "user_feedback")
RATED = ("rating", "stars")
EDITED = (
    "edited", "edited_content", "edited_answer", "edited_response", "edited_output", "edited_text", "correction",
    "corrected_answer",
)  # fmt: skip
ORIGINAL = ("original_content", "original_answer", "original_response", "original_text")
OTHERS = ("alternatives", "regenerations", "regenerated", "versions", "candidates", "variants")
MARKS = frozenset((*JUDGED, *RATED, *EDITED, *ORIGINAL, *OTHERS))
"""Keys of a turn that are feedback."""
ROW_MARKS = MARKS - {"candidates", "versions", "variants", "correction", *ORIGINAL}
"""Columns of a row that are feedback on its last answer, if their values are."""
SCALES = ("scale", "rating_scale", "max_rating", "max", "best")

UP = frozenset(
    ("up", "thumbs_up", "thumb_up", "thumbsup", "like", "liked", "good", "positive", "upvote", "upvoted", "helpful",
     "desirable", "correct", "yes", "true", "+1", "\N{THUMBS UP SIGN}")
)  # fmt: skip
DOWN = frozenset(
    ("down", "thumbs_down", "thumb_down", "thumbsdown", "dislike", "disliked", "bad", "negative", "downvote",
     "downvoted", "unhelpful", "not_helpful", "undesirable", "incorrect", "wrong", "poor", "no", "false",
     "\N{THUMBS DOWN SIGN}")
)  # fmt: skip
SHARE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(?:/|of|out of)\s*(\d+)(?:\s*stars?)?\s*")
STARS = re.compile(r"\s*(\d+(?:\.\d+)?)\s*stars?\s*")
SKIN = re.compile(
    "[\N{EMOJI MODIFIER FITZPATRICK TYPE-1-2}-\N{EMOJI MODIFIER FITZPATRICK TYPE-6}\N{VARIATION SELECTOR-16}]"
)


def is_log(row: Row) -> bool:
    """Whether a row is a conversation with feedback, or a tree of turns."""
    mapping = row.get("mapping")
    if isinstance(mapping, dict):
        return any(isinstance(node, dict) and isinstance(node.get("message"), dict) for node in mapping.values())
    turns = next((row[n] for n in ("messages", "conversations") if isinstance(row.get(n), list)), None)
    if turns is None:
        pair = answered_pair(row)
        if pair is None:
            return False
        turns = [t for n in pair[1:] if isinstance(row[n], list) for t in row[n]]
    if any(_is_marked(turn) for turn in turns):
        return True
    return not ROW_MARKS.isdisjoint(row) and any(is_feedback(row, name) for name in ROW_MARKS & row.keys())


def _is_marked(turn: Any) -> bool:
    if not isinstance(turn, dict) or len(turn) < 3:
        return False
    about = turn.get("metadata")
    return not MARKS.isdisjoint(turn) or (isinstance(about, dict) and not about.keys().isdisjoint(JUDGED))


def is_feedback(row: Row, name: str) -> bool:
    """Whether a column of a row is feedback on its answer, and not something else under the same name."""
    value = row[name]
    if name in OTHERS:
        return isinstance(value, list)
    if name in EDITED:
        return isinstance(value, str) and bool(value.strip())
    if name in RATED:  # a bare number is a score that came with the data
        return own_scale(row, value) is not None
    none_or_zero = value is None or (value == 0 and isinstance(value, int | float))
    return none_or_zero or verdict(name, value, own_scale(row, value) or 5) is not None


def together(verdicts: Iterable[bool | None]) -> bool | None:
    """What several verdicts on one answer come to: a thumbs down outweighs the rest."""
    said = set(verdicts)
    return False if False in said else True if True in said else None


def verdict(name: str, value: Any, scale: float) -> bool | None:
    """Whether feedback says up (true) or down (false); null where it says neither.

    A 0 that is no rating is a thumbs down only where the scale is 1: elsewhere it may stand for no vote.

    Args:
        name: the key it stands under: `thumbs_down: true` says down, and a `rating` is a number on a scale.
        value: true or false, 1 or -1, a word, a rating such as `4/5`, or an object or list that holds some of them.
        scale: the best rating, where the value does not say; 1 where feedback is 0 or 1.
    """
    if isinstance(value, dict):
        return _inside(value, own_scale(value, None) or scale)
    if isinstance(value, list):
        return together(verdict(name, one, scale) for one in value if not isinstance(one, list))
    if isinstance(value, str):
        return _word(name, value, scale)
    if not isinstance(value, int | float) or math.isnan(value):
        return None
    if name in UP_FLAGS or name in DOWN_FLAGS:
        return (name in UP_FLAGS and value > 0) if value else None
    if isinstance(value, bool):
        return value
    if name in RATED:
        return _rated(value, scale)
    if value == 0:
        return False if scale == 1 or name == "liked" else None
    return value > 0 if value in (1, -1) else None


def _inside(value: Row, scale: float) -> bool | None:
    kind = value.get("type")
    if kind in (*JUDGED, *RATED) and value.get("value") is not None:
        return verdict(kind, value["value"], scale)
    names = (*JUDGED, *RATED, "type", "value", "label", "sentiment")
    return together(verdict(n, value[n], scale) for n in names if value.get(n) is not None)


def _word(name: str, value: str, scale: float) -> bool | None:
    word = SKIN.sub("", value).strip().strip(":").lower().replace(" ", "_").replace("-", "_")
    if name in UP_FLAGS or name in DOWN_FLAGS:
        if word in ("true", "yes"):
            return name in UP_FLAGS
        if word in ("false", "no"):
            return None
    if word in UP or word in DOWN:
        return word in UP
    share, stars = SHARE.fullmatch(value), STARS.fullmatch(value)
    if share:
        return _rated(float(share[1]), float(share[2]))
    if stars:
        return _rated(float(stars[1]), scale)
    try:
        return verdict(name, json.loads(value), scale)
    except (ValueError, RecursionError):
        return None


def _rated(rating: float, scale: float) -> bool | None:
    if not 0 <= rating <= scale or scale < 1:
        return None
    if rating == 0 or scale == 1:
        return rating == 1 if rating in (0, 1) else None
    height = (rating - 1) / (scale - 1)
    return True if height >= 0.75 else False if height <= 0.25 else None


def own_scale(row: Row, value: Any) -> float | None:
    """The best rating, where the value (`4/5`), or what stands beside it, says so."""
    if isinstance(value, dict):
        return own_scale(value, None)
    share = SHARE.fullmatch(value) if isinstance(value, str) else None
    given = float(share[2]) if share else next((row[n] for n in SCALES if row.get(n) is not None), None)
    return given if isinstance(given, int | float) and not isinstance(given, bool) else None


def joined(*levels: Row) -> Row:
    """The marks that say something, of a turn and of what it stands in; a later level outweighs an earlier one.

    A null says nothing, and a thumbs down on one level is not outweighed by the same mark on another. Numbers take the
    scale of their level with them: `9` beside `scale: 10` becomes `9/10`.
    """
    marks: Row = {}
    for level in levels:
        for name, value in level.items():
            judges = name in JUDGED or name in RATED
            if name not in MARKS or value is None or (judges and verdict(name, marks.get(name), 5) is False):
                continue
            marks[name] = _scaled(level, name, value)
    return marks


def _scaled(level: Row, name: str, value: Any) -> Any:
    scale = own_scale(level, None if isinstance(value, dict) else value)
    if scale is None or name not in (*JUDGED, *RATED):
        return value
    if isinstance(value, dict):
        return value if own_scale(value, None) else {**value, "scale": scale}
    text = value.strip() if isinstance(value, str) else value
    number = not isinstance(text, bool) and re.fullmatch(r"\d+(\.\d+)?", f"{text}") is not None
    return f"{text}/{scale:g}" if number and (name in RATED or scale == 1) else value
