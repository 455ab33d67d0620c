"""Feedback on an answer, as logs write it: thumbs, words, ratings, edits, other answers."""

from __future__ import annotations

import re
from typing import Any

from curation.pairs import answered_pair
from curation.turns import Row

JUDGED = ("feedback", "thumbs", "thumb", "thumbs_up", "thumbs_down", "vote", "reaction", "liked", "user_feedback")
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
     "desirable", "true", "\N{THUMBS UP SIGN}")
)  # fmt: skip
DOWN = frozenset(
    ("down", "thumbs_down", "thumb_down", "thumbsdown", "dislike", "disliked", "bad", "negative", "downvote",
     "downvoted", "unhelpful", "undesirable", "false", "\N{THUMBS DOWN SIGN}")
)  # fmt: skip
SHARE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*/\s*(\d+)\s*")


def is_log(row: Row) -> bool:
    """Whether a row is a conversation with feedback, or a tree of turns."""
    mapping = row.get("mapping")
    if isinstance(mapping, dict):
        return any(isinstance(node, dict) and isinstance(node.get("message"), dict) for node in mapping.values())
    turns = row.get("messages", row.get("conversations"))
    if isinstance(turns, list):
        if any(len(t) > 2 and not MARKS.isdisjoint(t) for t in turns if isinstance(t, dict)):
            return True
    elif answered_pair(row) is None:
        return False
    return not ROW_MARKS.isdisjoint(row) and any(is_feedback(row, name) for name in ROW_MARKS & row.keys())


def is_feedback(row: Row, name: str) -> bool:
    """Whether a column of a row is feedback on its answer, and not something else under the same name."""
    value = row[name]
    if name in OTHERS:
        return isinstance(value, list)
    if name in EDITED:
        return isinstance(value, str) and bool(value.strip())
    if name in RATED:  # a bare number is a score that came with the data
        return own_scale(row, value) is not None
    return value is None or verdict(name, value, 5) is not None


def verdict(name: str, value: Any, scale: float) -> bool | None:
    """Whether feedback says up (true) or down (false); null where it says neither.

    Args:
        name: the key it stands under: `thumbs_down: true` says down, and a `rating` is a number on a scale.
        value: true or false, 1 or -1, a word, a rating such as `4/5`, or an object that holds one of them.
        scale: the best rating, where the value does not say.
    """
    if isinstance(value, dict):
        scale = own_scale(value, None) or scale
        inner = ((n, value[n]) for n in (*JUDGED, *RATED, "type", "value") if value.get(n) is not None)
        return next((v for n, said in inner if (v := verdict(n, said, scale)) is not None), None)
    if name in ("thumbs_up", "thumbs_down") and isinstance(value, bool | int):
        return (name == "thumbs_up") if value else None
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _word(name, value, scale)
    if not isinstance(value, int | float):
        return None
    if name in RATED:
        return _rated(value, scale)
    return value > 0 if value in (1, -1) else None


def _word(name: str, value: str, scale: float) -> bool | None:
    word = value.strip().lower().replace(" ", "_").replace("-", "_")
    if word in UP or word in DOWN:
        return word in UP
    share = SHARE.fullmatch(value)
    if share:
        return _rated(float(share[1]), float(share[2]))
    try:
        return verdict(name, float(value), scale)
    except ValueError:
        return None


def _rated(rating: float, scale: float) -> bool | None:
    if not 1 <= rating <= scale or scale < 2:
        return None
    height = (rating - 1) / (scale - 1)
    return True if height >= 0.75 else False if height <= 0.25 else None


def own_scale(row: Row, value: Any) -> float | None:
    """The best rating, where the value (`4/5`), or what stands beside it, says so."""
    if isinstance(value, dict):
        return own_scale(value, None)
    share = SHARE.fullmatch(value) if isinstance(value, str) else None
    given = float(share[2]) if share else next((row[n] for n in SCALES if n in row), None)
    return given if isinstance(given, int | float) and not isinstance(given, bool) else None
