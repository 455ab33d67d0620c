"""Several rewards for one answer, and what a row of a mix lets them verify."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from curation.errors import WinnowError
from training.data.mix_folder import Example
from training.rewards.reward import Answer, Question, Reward, RewardFunction
from training.rewards.shaping import length, no_repetition
from training.rewards.verifying import code_tests, final_answer, format_kept

REWARDS: dict[str, RewardFunction] = {
    "final-answer": final_answer,
    "code-tests": code_tests,
    "format": format_kept,
    "length": length,
    "no-repetition": no_repetition,
}
"""As `TrainConfig.rewards` names them; each counts as it is, and they are added."""
SHAPING = ("length", "no-repetition")
"""Those that every answer has."""


@dataclass(frozen=True, slots=True)
class Rating:
    """The rewards of one answer."""

    total: float | None
    """The sum of those that could be computed; null where no verifying one could (of those asked for)."""
    each: dict[str, Reward]


def checked_rewards(names: Sequence[str]) -> tuple[str, ...]:
    """The names, each of which there is.

    Raises:
        WinnowError: one is not known, one is given twice, or there is none.
    """
    wrong = [name for place, name in enumerate(names) if name not in REWARDS or name in names[:place]]
    if wrong or not names:
        said = f"{wrong[0]!r} is no reward, or is given twice" if wrong else "No reward is given"
        raise WinnowError(f"{said}.", fix=f"choose among: {', '.join(REWARDS)}")
    return tuple(names)


def rated(question: Question, answer: Answer, names: Sequence[str]) -> Rating:
    """The rewards with these names, and their sum."""
    each = {name: REWARDS[name](question, answer) for name in names}
    verifying = [name for name in names if name not in SHAPING] or list(names)
    known = [reward.value for reward in each.values() if reward.value is not None]
    is_rated = any(each[name].value is not None for name in verifying)
    return Rating(sum(known) if is_rated else None, each)


def unfit(question: Question, names: Sequence[str]) -> str | None:
    """Why no answer to this question can be verified by these rewards; null where one can."""
    rating = rated(question, Answer("", 0, 1), names)
    if rating.total is not None:
        return None
    return "; ".join(dict.fromkeys(reward.reason for reward in rating.each.values() if reward.reason))


def prompt_of(example: Example) -> tuple[dict[str, Any], ...]:
    """The turns that are to be answered: all before the last answer."""
    if example.answers_from:
        return example.messages[: example.answers_from]
    last = _last_answer(example)
    return example.messages if last is None else example.messages[:last]


def question_of(example: Example) -> Question:
    """What an answer to this row's prompt is verified by.

    The expected answer is the row's `reference`, else what its last assistant turn marks as the answer (`#### 42`,
    a box, `the answer is 42`) or, if that turn is one short line, the turn itself. It is never guessed from a text.
    """
    from curation.texts.code_answers import known_tests

    asked = [turn["content"] for turn in prompt_of(example) if turn["role"] == "user"]
    checks = example.checks
    entry_point = checks.get("entry_point")
    return Question(
        instruction=str(asked[-1]) if asked else "",
        reference=_reference(checks.get("reference"), example),
        tests=tuple(known_tests({**checks, "test": checks.get("tests")}, "test")),
        entry_point=entry_point if isinstance(entry_point, str) else None,
    )


def _reference(given: Any, example: Example) -> str | None:
    from curation.texts.final_answers import SHORT, expected_answer, explicit_answer

    if (known := expected_answer({"reference": given})) is not None:
        return known
    last = _last_answer(example)
    text = str(example.messages[last]["content"]).strip() if last is not None else ""
    is_short = 0 < len(text) <= SHORT and "\n" not in text
    return explicit_answer(text) or (text if is_short else None)


def _last_answer(example: Example) -> int | None:
    places = [place for place, turn in enumerate(example.messages) if turn["role"] == "assistant"]
    return places[-1] if places else None
