"""What the events of a preference run warn of: answers that become unlikely, and length taken for quality."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

FALLEN = -1.0
"""Nats per chosen answer from which its likelihood counts as fallen."""
MOSTLY = 0.65
"""Share of pairs whose chosen answer is the longer one, from which length may stand for quality."""
FEWEST_PAIRS = 20
"""Held-out pairs under which shares say nothing."""
AVOIDS = (
    "the model learns what to avoid, not what to say. Set sft_weight to 0.1 or more, or preference_loss to dpo-positive"
)
WINDOW = 10
"""Logged steps that are averaged."""


def preference_signs(events: Sequence[dict[str, Any]]) -> list[str]:
    """The warnings, worst first; none where the run does not learn preferences.

    Args:
        events: `log` and `held_out` events of a run, oldest first; fields that are missing or null are passed over.
    """
    measured = [e for e in events if e.get("type") == "held_out" and e.get("chosen_log_ratio") is not None]
    fallen = _fallen(measured[-1]) if measured else _fallen_in_training(events)
    pairs = [e for e in events if e.get("type") == "held_out" and (e.get("pairs") or 0) >= FEWEST_PAIRS]
    return [sign for sign in (fallen, _length(pairs[-1]) if pairs else None) if sign]


def _fallen(event: dict[str, Any]) -> str | None:
    chosen, margin = event["chosen_log_ratio"], event.get("margin") or 0.0
    if chosen > FALLEN or margin <= 0:
        return None
    return (
        f"Held-out chosen answers became less likely ({chosen:+.1f} nats an answer) while the margin rose to "
        f"{margin:.1f}: {AVOIDS}, or raise beta."
    )


def _fallen_in_training(events: Sequence[dict[str, Any]]) -> str | None:
    logs = [e for e in events if e.get("type") == "log" and {"reward_chosen", "reward_margins"} <= e.keys()]
    if len(logs) < 2 * WINDOW:
        return None
    first, last = logs[:WINDOW], logs[-WINDOW:]
    chosen = fmean(e["reward_chosen"] for e in last), fmean(e["reward_chosen"] for e in first)
    margin = fmean(e["reward_margins"] for e in last), fmean(e["reward_margins"] for e in first)
    if not (chosen[0] < min(0.0, chosen[1]) and margin[0] > margin[1]):
        return None
    return (
        f"Chosen answers became less likely (reward {chosen[0]:+.3f}) while the margin rose to {margin[0]:.3f}: "
        f"{AVOIDS}."
    )


def _length(event: dict[str, Any]) -> str | None:
    longer, accuracy = event.get("chosen_longer"), event.get("accuracy")
    if longer is None or longer < MOSTLY:
        return None
    told = f"In {longer:.0%} of the held-out pairs the chosen answer is the longer one"
    shorter = event.get("accuracy_when_shorter")
    if accuracy is None or shorter is None:
        return f"{told}: the model may learn to write more. Watch accuracy_when_shorter and the length of answers."
    if shorter < min(0.5, accuracy):
        return (
            f"{told}, and where it is not the model is right in {shorter:.0%} only (over all {accuracy:.0%}): length "
            "explains the preference. Use preference_loss sigmoid_norm or method simpo, or add pairs whose chosen "
            "answer is short."
        )
    return None
