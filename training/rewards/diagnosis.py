"""What the events of a run with rewards give away: nothing to learn from, and rewards that are won by a trick."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

FEWEST_LOGS = 8
"""Logged steps under which beginning and end are not compared."""
LONGER = 1.5
"""Times as many tokens at the end as at the beginning: answers explode."""
SHORTER = 0.5
"""Times as many: answers collapse."""
MORE = 0.1
"""Rise of a share (repetition) from which it is told."""
MORE_CUT_OFF = 0.2
FALL = 0.05
"""Fall of the held-out reward below its best from which it is told."""
NO_SIGNAL = "No prompt had answers of different reward."
Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something the user should look at."""

    message: str
    """What was seen, in numbers."""
    fix: str


def reward_hacking(events: Sequence[Event]) -> list[Finding]:
    """Signs that the reward rises for other reasons than better answers; empty where there are none.

    The first quarter of the logged steps is compared with the last. Read: `log` events with `reward`,
    `answer_tokens`, `cut_off`, `repetition` and `no_spread`; `held_out` events with `reward`. Events without these are
    left alone, so that any run's may be given.

    Source: what to watch beside the reward: Gao et al. 2022, Scaling Laws for Reward Model Overoptimization,
    arXiv:2210.10760; length: Singhal et al. 2023, A Long Way to Go, arXiv:2310.03716.
    """
    logs = [event for event in events if event.get("type") == "log" and event.get("reward") is not None]
    findings = without_signal(events)
    if len(logs) < FEWEST_LOGS or findings:
        return findings
    gain = _change(logs, "reward")
    if gain is None or gain[1] <= gain[0]:
        return findings
    rose = f"the reward rose from {gain[0]:.3g} to {gain[1]:.3g}"
    return [finding for finding in (*_of_answers(logs, rose), _of_held_out(events, rose)) if finding]


def without_signal(events: Sequence[Event]) -> list[Finding]:
    """Told where no logged step had a prompt with answers of different reward: nothing can have been learned."""
    shares = [event["no_spread"] for event in events if event.get("no_spread") is not None]
    if not shares or min(shares) < 1:
        return []
    return [
        Finding(
            f"{NO_SIGNAL[:-1]} in {len(shares)} logged steps: nothing was learned.",
            "begin with a model that solves some of them (sft first), take easier prompts, or raise answers_per_prompt",
        )
    ]


def _of_answers(logs: Sequence[Event], rose: str) -> list[Finding]:
    found = []
    tokens = _change(logs, "answer_tokens")
    if tokens and tokens[1] >= LONGER * tokens[0]:
        fix = "add the reward length, or lower max_answer_tokens; read the sample answers"
        found.append(Finding(f"Answers grew from {tokens[0]:.0f} to {tokens[1]:.0f} tokens while {rose}.", fix))
    if tokens and tokens[1] <= SHORTER * tokens[0]:
        fix = "where short answers were not asked for, raise beta or add a reward for what they should say"
        found.append(Finding(f"Answers shrank from {tokens[0]:.0f} to {tokens[1]:.0f} tokens while {rose}.", fix))
    repeated = _change(logs, "repetition")
    if repeated and repeated[1] - repeated[0] >= MORE:
        fix = "add the reward no-repetition, or raise beta; read the sample answers"
        found.append(Finding(f"Repetition rose from {repeated[0]:.0%} to {repeated[1]:.0%} while {rose}.", fix))
    cut = _change(logs, "cut_off")
    if cut and cut[1] - cut[0] >= MORE_CUT_OFF:
        fix = "raise max_answer_tokens, or add the reward length"
        found.append(Finding(f"Answers that are cut off rose from {cut[0]:.0%} to {cut[1]:.0%} while {rose}.", fix))
    return found


def _of_held_out(events: Sequence[Event], rose: str) -> Finding | None:
    rewards = [e["reward"] for e in events if e.get("type") == "held_out" and e.get("reward") is not None]
    if len(rewards) < 2 or rewards[-1] > max(rewards) - FALL:
        return None
    return Finding(
        f"The held-out reward fell from {max(rewards):.3g} to {rewards[-1]:.3g} while {rose}.",
        "stop earlier (patience), raise beta, or take more and other prompts",
    )


def _change(logs: Sequence[Event], key: str) -> tuple[float, float] | None:
    """Means over the first and the last quarter of the steps; null where the key is missing."""
    values = [float(event[key]) for event in logs if event.get(key) is not None]
    if len(values) < FEWEST_LOGS:
        return None
    quarter = len(values) // 4
    return sum(values[:quarter]) / quarter, sum(values[-quarter:]) / quarter
