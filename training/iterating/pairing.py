"""From rated answers to preference pairs: the best of a prompt's answers against the worst."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from training.data.mix_folder import Example
from training.iterating.ratings import Rated
from training.rewards import Answer, prompt_of
from training.rewards.diagnosis import NO_SIGNAL

SAME_REWARD = "its answers all have the same reward"
SAME_TEXT = "its best and its worst answer are the same text"
CUT_OFF = "every answer that is better than another was cut off"
EMPTY = "its best answer is empty"


@dataclass(slots=True)
class Pairs:
    """The pairs of some prompts."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    """With TRL's columns for conversational preferences, and the two ratings."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Reason -> prompts without a pair."""

    @property
    def why_none(self) -> str:
        """One sentence for a round without pairs."""
        if set(self.dropped) <= {SAME_REWARD}:
            return NO_SIGNAL
        reason, count = self.dropped.most_common(1)[0]
        return f"No prompt gave a pair; the commonest reason ({count} prompts): {reason}."


def paired(asked: Sequence[Example], answers: Sequence[Sequence[Answer]], ratings: Sequence[Sequence[Rated]]) -> Pairs:
    """The best against the worst of each prompt's answers; prompts without a difference are dropped and counted.

    What is chosen ended by itself: to imitate an answer that was cut off would teach to stop in the middle. Of equally
    rated answers the first one counts.

    Source: Yuan et al. 2024, Self-Rewarding Language Models, arXiv:2401.10020, section 2.2 (highest against lowest, no
    pair where they are equal); Xiong et al. 2024, Iterative Preference Learning from Human Feedback, arXiv:2312.11456.
    """
    pairs = Pairs()
    for example, written, rated in zip(asked, answers, ratings, strict=True):
        pair = _pair(written, rated)
        if isinstance(pair, str):
            pairs.dropped[pair] += 1
        else:
            pairs.rows.append(_row(example, written, rated, *pair))
    return pairs


def _pair(written: Sequence[Answer], rated: Sequence[Rated]) -> tuple[int, int] | str:
    """Places of the chosen and the rejected answer, or why there is no pair."""
    known = [(value, place) for place, (value, _) in enumerate(rated) if value is not None]
    if len(known) < 2:
        reasons = [reason for value, reason in rated if value is None]
        return f"fewer than two of its answers could be rated: {reasons[0] if reasons else 'there are none'}"
    lowest, worst = min(known)
    if max(known)[0] == lowest:
        return SAME_REWARD
    ended = [(-value, place) for value, place in known if value > lowest and written[place].ended]
    if not ended:
        return CUT_OFF
    best = min(ended)[1]
    if not written[best].text.strip():
        return EMPTY
    return SAME_TEXT if written[best].text.strip() == written[worst].text.strip() else (best, worst)


def _row(example: Example, written: Sequence[Answer], rated: Sequence[Rated], best: int, worst: int) -> dict[str, Any]:
    return {
        "id": example.id,
        "prompt": [{"role": turn["role"], "content": str(turn["content"])} for turn in prompt_of(example)],
        "chosen": [{"role": "assistant", "content": written[best].text}],
        "rejected": [{"role": "assistant", "content": written[worst].text}],
        "chosen_reward": rated[best][0],
        "rejected_reward": rated[worst][0],
        "source": example.source,
    }
