"""What looks wrong in a run: rules over its events, each a plain function, with what to do about it.

To add one: a function from `Told` to a `Concern` or nothing, and an entry in `RULES`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median, stdev
from typing import Any

from training.config import TrainConfig
from training.runs.best import to_fall

GUESSING = 0.95
"""Share of ln(vocabulary) from which a loss is no better than guessing."""
AWAY_FROM_BASE = 1.5
"""Nats per token by which the first training loss may lie above the base model's held-out loss."""
MEMORISED = 0.5
"""Nats per token under which a model mostly knows its training rows by heart."""
RISEN = 0.02
"""By how much, as a share, a held-out loss has to rise to count."""
WORSE = 0.01
"""By how much, as a share, a source's held-out loss has to lie above that of before training."""
STAIR = 0.08
"""Share of the loss that falls between two epochs where rows are learnt by heart."""
SPIKE = 10.0
"""Times the usual gradient norm."""
FAR = 5.0
"""Times a learning rate may lie above or below the suggested one."""
LIKELIHOOD = ("sft", "pretrain", "orpo")
"""Methods whose training loss is the loss of the answers, so that it can be compared with the held-out one."""


@dataclass(frozen=True, slots=True)
class Concern:
    """One thing that looks wrong."""

    name: str
    text: str
    """What is seen, with its numbers."""
    fix: str
    """What to do, one line."""
    step: int | None = None
    """Where it was seen; null for the whole run."""
    serious: bool = True
    """Whether the run is probably wasted if it goes on so."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the rules look at."""

    config: TrainConfig
    logs: list[dict[str, Any]]
    held_out: list[dict[str, Any]]
    base: dict[str, Any]
    """The `base` event; empty in runs of older versions."""
    every: list[dict[str, Any]]


def concerns(events: Iterable[dict[str, Any]], config: TrainConfig) -> list[Concern]:
    """Everything that looks wrong so far, serious things first.

    Args:
        events: of the run, in order, each step once (as `training.runs.run_folder.events` gives them).
        config: of the run.
    """
    every = list(events)
    base: dict[str, Any] = next((e for e in reversed(every) if e["type"] == "base"), {})
    logs = [e for e in every if e["type"] == "log" and math.isfinite(e.get("loss", math.nan))]
    told = Told(config, logs, [e for e in every if e["type"] == "held_out"], base, every)
    found = [concern for rule in RULES for concern in rule(told)]
    return sorted(found, key=lambda concern: not concern.serious)


def _initial_loss(told: Told) -> list[Concern]:
    """A model that was trained on text guesses far better than at random; if not, it does not see what it knows."""
    if told.config.method not in LIKELIHOOD or not (told.logs or told.held_out):
        return []
    before = next((e["loss"] for e in told.held_out if e["step"] == 0 and "loss" in e), None)
    first = told.logs[0]["loss"] if told.logs and told.logs[0]["step"] <= 5 else None
    vocabulary, loss = told.base.get("vocabulary"), before if before is not None else first
    if vocabulary and loss is not None and loss >= GUESSING * math.log(vocabulary):
        text = (
            f"The loss begins at {loss:.2f}; guessing among {vocabulary:,} tokens gives {math.log(vocabulary):.2f}: "
            "the base model knows nothing of these texts."
        )
        fix = "check that the tokenizer belongs to the model, and that the model has been trained at all"
        return [Concern("initial-loss", text, fix, step=0)]
    if before is not None and first is not None and first > before + AWAY_FROM_BASE:
        text = (
            f"The first training loss is {first:.2f}, the base model has {before:.2f} on the held-out rows: "
            "training rows look foreign to it."
        )
        return [Concern("initial-loss", text, "look at the rows of the mix and the chat template", step=1)]
    return []


def _untrained_tokens(told: Told) -> list[Concern]:
    tokens = told.base.get("untrained_tokens") or []
    if not tokens:
        return []
    frozen = told.base.get("adapter") != "full"
    names = ", ".join(tokens[:4]) + (" …" if len(tokens) > 4 else "")
    end = ", and this adapter does not train embeddings" if frozen else ""
    text = f"The chat template writes {names}, whose embeddings the base model never learnt{end}."
    fix = "take the instruct version of the model" + (", or adapter=full" if frozen else "; full training learns them")
    return [Concern("untrained-tokens", text, fix, step=0, serious=frozen)]


def _by_heart(told: Told) -> list[Concern]:
    """Training loss falls on while the held-out loss rises."""
    measured = [(e["step"], value) for e in told.held_out if (value := to_fall(e)[0]) is not None]
    after = [pair for pair in measured if pair[0] > 0]
    if len(after) < 2 or not told.logs:
        return []
    best_step, best = min(after, key=lambda pair: pair[1])
    step, last = after[-1]
    if last <= best + abs(best) * RISEN or step == best_step:
        return []
    recent = fmean(e["loss"] for e in told.logs[-10:])
    low = recent < MEMORISED and told.config.method in LIKELIHOOD
    name = to_fall(told.held_out[-1])[1]
    what = "held-out loss" if name == "loss" else "held-out objective" if name == "objective" else f"held-out {name}"
    text = f"The {what} rises: {best:.3f} at step {best_step:,}, {last:.3f} at step {step:,}."
    if low:
        text = (
            f"The {what} rises: {best:.3f} at step {best_step:,}, {last:.3f} at step {step:,}, "
            f"while the training loss is {recent:.2f}: rows are learnt by heart."
        )
    if told.config.patience:
        fix = f"nothing: patience keeps the weights of step {best_step:,}; fewer epochs save the time"
        return [Concern("held-out-rises", text, fix, step=step, serious=False)]
    fix = f"stop near step {best_step}: train fewer epochs, or set patience=2, which keeps the best weights"
    return [Concern("held-out-rises", text, fix, step=step, serious=low or last > 1.1 * best)]


def _staircase(told: Told) -> list[Concern]:
    """A loss that falls when rows come again, and not in between, is memory."""
    epochs = _by_epoch(told.logs)
    for number in sorted(epochs)[1:]:
        now, before = epochs[number], epochs.get(number - 1, [])
        quarter = min(len(now), len(before)) // 4
        if quarter < 3:
            continue
        end, begin, last = before[-quarter:], now[:quarter], now[-quarter:]
        drop, within = fmean(end) - fmean(begin), abs(fmean(begin) - fmean(last))
        noise = math.hypot(stdev(end), stdev(begin)) / math.sqrt(quarter)
        if drop > STAIR * fmean(end) and drop > 2 * within and drop > 3 * noise:
            text = (
                f"The training loss falls by {drop:.2f} where epoch {number + 1} begins and hardly within it: the rows "
                "that come again are remembered."
            )
            return [Concern("staircase", text, f"train {number} epoch{'s' * (number > 1)}, or add data", serious=False)]
    return []


def _by_epoch(logs: Sequence[dict[str, Any]]) -> dict[int, list[float]]:
    epochs: dict[int, list[float]] = {}
    for event in logs:
        # A step that ends at 1.0 belongs to the epoch before.
        epochs.setdefault(max(0, math.ceil(event.get("epoch", 0.0) - 1e-6) - 1), []).append(event["loss"])
    return epochs


def _worse_source(told: Told) -> list[Concern]:
    """A source on which the model is worse than its base."""
    measured = [e for e in told.held_out if e.get("loss_by_source")]
    if len(measured) < 2 or measured[0]["step"] != 0:
        return []
    first, last = measured[0]["loss_by_source"], measured[-1]["loss_by_source"]
    worse = {s: (first[s], last[s]) for s in last if s in first and last[s] > first[s] * (1 + WORSE)}
    if not worse:
        return []
    step, total = measured[-1]["step"], told.config.method not in LIKELIHOOD
    names = "; ".join(f"{source} {a:.3f} → {b:.3f}" for source, (a, b) in _largest(worse)[:3])
    text = f"Held-out loss is worse than before training: {names}."
    fix = (
        "expected to a degree, for preferences lower both sides; set sft_weight=0.1 if answers get worse"
        if total
        else "look at the rows of these sources, give the mix more of them, or lower the learning rate"
    )
    return [Concern("worse-source", text, fix, step=step, serious=not total and len(worse) == len(first))]


def _largest(worse: dict[str, tuple[float, float]]) -> list[tuple[str, tuple[float, float]]]:
    return sorted(worse.items(), key=lambda pair: pair[1][0] - pair[1][1])


def _spikes(told: Told) -> list[Concern]:
    norms = [(e["step"], e["grad_norm"]) for e in told.logs if e.get("grad_norm") is not None]
    found = []
    for place in range(10, len(norms)):
        usual = median(norm for _, norm in norms[max(0, place - 50) : place])
        if usual > 0 and norms[place][1] > SPIKE * usual:
            found.append((norms[place][0], norms[place][1] / usual))
    if not found:
        return []
    step, times = max(found, key=lambda pair: pair[1])
    more = f", {len(found)} steps like it" if len(found) > 1 else ""
    text = f"The gradient norm jumps to {times:.0f} times the usual at step {step:,}{more}."
    fix = "look for odd rows (very long, garbled), raise warmup_ratio, or lower the learning rate"
    return [Concern("gradient-spikes", text, fix, step=step, serious=len(found) > 2)]


def _far_rate(told: Told) -> list[Concern]:
    rate, suggested = told.base.get("rate"), told.base.get("suggested_rate")
    if not rate or not suggested or 1 / FAR <= rate / suggested <= FAR:
        return []
    times = rate / suggested
    how = f"{times:.0f} times" if times > 1 else f"1/{1 / times:.0f} of"
    text = f"The learning rate {rate:.2g} is {how} what this method and size usually take ({suggested:.2g})."
    fix = f"leave learning_rate empty, or set learning_rate={suggested:g}"
    return [Concern("learning-rate", text, fix, step=0, serious=times > 1)]


def _no_fall(told: Told) -> list[Concern]:
    losses = [e["loss"] for e in told.logs]
    fifth = len(losses) // 5
    if told.config.method not in LIKELIHOOD or fifth < 10:
        return []
    first, last = losses[:fifth], losses[-fifth:]
    if fmean(last) <= fmean(first) + 3 * math.hypot(stdev(first), stdev(last)) / math.sqrt(fifth):
        return []
    text = f"The training loss rises: {fmean(first):.2f} in the first fifth, {fmean(last):.2f} in the last."
    return [Concern("loss-rises", text, "lower the learning rate, or raise batch_size x accumulation")]


def _methods_own(told: Told) -> list[Concern]:
    """What methods know of themselves: signs of a reward, or a preference, that is met without what it stands for."""
    from training.rewards.diagnosis import reward_hacking
    from training.runs.preference_signs import preference_signs

    if told.config.method == "grpo":
        return [Concern("reward", found.message, found.fix, serious=False) for found in reward_hacking(told.every)]
    if told.config.method in ("dpo", "kto", "orpo", "simpo", "reward"):
        fix = "read sample answers before you trust the numbers"
        return [Concern("preference", text, fix, serious=False) for text in preference_signs(told.every)]
    return []


RULES: tuple[Callable[[Told], list[Concern]], ...] = (
    _initial_loss,
    _untrained_tokens,
    _by_heart,
    _worse_source,
    _spikes,
    _far_rate,
    _no_fall,
    _staircase,
    _methods_own,
)
