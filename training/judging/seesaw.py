"""What rose and what fell: every group and every metric of one model beside those of another, over the same examples.

A mean can rise while half of its groups fall. Differences are paired by example; one whose interval crosses 0 is
called not proven, one that has no pairs has no interval and says why. Each interval is of its own: among many, one in
twenty of those where nothing changed leaves 0 out by chance (`by_chance`).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training.data.mix_folder import MixFolder
from training.judging.answers import read_answers
from training.judging.comparison import FEWEST_EXAMPLES, difference
from training.judging.facts import read_facts
from training.judging.groups import Group, groups
from training.judging.verified import read_scores
from training.runs.run_folder import RunFolder, events

LOSSES = "held_out_losses.jsonl"
LOSS = "held-out loss"
METRICS = {
    "final_answer": "right final answers", "code_tests": "passed tests", "rougeL": "ROUGE-L", "bleu": "BLEU",
}  # fmt: skip
"""Column of the scores of answers -> what it is called; more is better in each."""
ALL = "all"
MANY = 10
"""Intervals from which on chance is spoken of."""
NOT_FINITE = "some of the numbers are not finite"
NO_PAIRS = "only means are kept for these runs: winnow evaluate RUN keeps the loss of every example"


@dataclass(frozen=True)
class Change:
    """One group under one metric, before and after."""

    kind: str
    """`source`, a kind of tags, a score's bands, or `all`."""
    name: str
    metric: str
    examples: int | None
    before: float
    after: float
    difference: float
    low: float | None
    """Ends of the 95 % interval, paired by example; null where there are too few pairs, `reason` says so."""
    high: float | None
    size: float
    """By which rows are sorted: share of what it was for losses, else the difference itself."""
    verdict: str
    """better, worse, not proven, or no interval."""
    reason: str | None = None


@dataclass(frozen=True)
class Measured:
    """What is known of one model on the held-out rows and prompts."""

    name: str
    losses: dict[str, tuple[str, int, float]] = field(default_factory=dict)
    """Row id -> source, answer tokens, summed loss in nats."""
    means: dict[str, float] = field(default_factory=dict)
    """Source, or `all` -> loss per token; known also where the losses of the examples are not."""
    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    """Metric -> prompt id -> value."""
    sources: dict[str, str] = field(default_factory=dict)
    """Prompt id -> source."""
    asked: dict[str, str] = field(default_factory=dict)
    """Prompt id -> hash of what was asked and how: prompts of two runs can have the same id."""


def measured(run_dir: Path, model: str = "trained", told: Sequence[Mapping[str, Any]] | None = None) -> Measured:
    """What a run's folder tells of one of its models.

    Args:
        run_dir: of the run.
        model: `base`, `trained` or `random`.
        told: its events, where they have been read already.
    """
    losses = {
        str(row["id"]): (str(row.get("source")), int(row["tokens"]), float(row[model]))
        for row in _lines(run_dir / LOSSES)
        if row.get(model) is not None and row.get("tokens")
    }
    scores: dict[str, dict[str, float]] = {}
    for (prompt_id, asked), row in read_scores(run_dir).items():
        for column, metric in METRICS.items():
            if asked == model and isinstance(row.get(column), int | float):
                scores.setdefault(metric, {})[prompt_id] = float(row[column])
    answers = [answer for answer in read_answers(run_dir) if answer.model == model]
    sources = {answer.id: answer.source for answer in answers}
    prompts = {a.id: _hash([a.prompt, a.reference, a.settings]) for a in answers}
    means = _means(events(run_dir) if told is None else told, model)
    return Measured(f"{model} of {run_dir.name}", losses, means, scores, sources, prompts)


def by_chance(changes: Sequence[Change]) -> str | None:
    """What the number of intervals asks the reader to bear in mind; null where there are few."""
    intervals = sum(change.low is not None for change in changes)
    if intervals < MANY:
        return None
    return (
        f"{intervals} intervals of 95 %, each on its own: about {0.05 * intervals:.0f} would leave 0 out by chance if "
        "nothing had changed"
    )


def groups_of(run_dir: Path, after: Measured) -> list[Group]:
    """The groups of the held-out rows of a run; row numbers are places in the sorted ids of `after`."""
    data = RunFolder(run_dir).read("data.json")
    ids = sorted(after.losses)
    sources = [after.losses[row_id][0] for row_id in ids]
    return groups(ids, sources, read_facts(run_dir, MixFolder(Path(data.get("mix", run_dir)))))


def seesaw(before: Measured, after: Measured, found: Sequence[Group]) -> list[Change]:
    """Every group and metric that both have, the largest change first.

    Args:
        before: the model that is compared with.
        after: the model that is judged.
        found: groups of the rows of `after`, by their places in its sorted ids.
    """
    changes = [*_loss_changes(before, after, found), *_score_changes(before, after)]
    return sorted(changes, key=lambda change: (-change.size, change.kind, change.name))


def _loss_changes(before: Measured, after: Measured, found: Sequence[Group]) -> Iterator[Change]:
    import numpy as np

    ids = sorted(after.losses)
    common = [i for i in ids if i in before.losses]
    unlike = sum(before.losses[i][1] != after.losses[i][1] for i in common)
    if not common or unlike:
        reason = _not_paired(len(common), unlike) if before.losses and after.losses else NO_PAIRS
        yield from _mean_changes(before, after, reason)
        return
    kept = set(common)
    for group in (Group(ALL, ALL, tuple(range(len(ids)))), *found):
        rows = [ids[i] for i in group.rows if ids[i] in kept]
        if rows:
            tokens = np.array([after.losses[i][1] for i in rows])
            old, new = (np.array([side.losses[i][2] for i in rows]) for side in (before, after))
            yield _change(group.kind, group.name, LOSS, old, new, tokens, lower=True)


def _not_paired(common: int, unlike: int) -> str:
    # Rows that happen to have as many tokens under both are no sample of the rest.
    if unlike:
        told = f"the two do not count the tokens of {unlike:,} of {common:,} rows alike"
        return f"{told}: their tokenizers, templates or longest lengths differ"
    return "the two have no held-out row in common"


def _mean_changes(before: Measured, after: Measured, reason: str) -> Iterator[Change]:
    for name in after.means:
        if name in before.means:
            old, new = before.means[name], after.means[name]
            kind = ALL if name == ALL else "source"
            gap = new - old
            size = abs(gap) / old if math.isfinite(gap) and old else 0.0
            yield Change(kind, name, LOSS, None, old, new, gap, None, None, size, "no interval", reason)


def _score_changes(before: Measured, after: Measured) -> Iterator[Change]:
    import numpy as np

    for metric, values in after.scores.items():
        others = before.scores.get(metric, {})
        common = sorted(i for i in values if i in others and before.asked.get(i) == after.asked.get(i))
        sources = sorted({after.sources.get(i, "") for i in common} - {""})
        parts = [(ALL, ALL, common)]
        if len(sources) > 1:
            parts += [("source", s, [i for i in common if after.sources.get(i) == s]) for s in sources]
        for kind, name, rows in parts:
            if rows:
                old, new = (np.array([side.scores[metric][i] for i in rows]) for side in (before, after))
                scale = 100 if metric == METRICS["bleu"] else 1
                yield _change(kind, name, metric, old, new, np.ones(len(rows)), lower=False, scale=scale)


def _change(
    kind: str, name: str, metric: str, old: Any, new: Any, tokens: Any, *, lower: bool, scale: float = 1
) -> Change:
    if not math.isfinite(float((new - old).sum())):
        means = float(old.sum() / tokens.sum()), float(new.sum() / tokens.sum())
        gap = means[1] - means[0]
        return Change(kind, name, metric, len(old), *means, gap, None, None, 0.0, "no interval", NOT_FINITE)
    found = difference(new - old, tokens)
    was, becomes = float(old.sum() / tokens.sum()), float(new.sum() / tokens.sum())
    size = abs(found.mean) / max(was, 1e-12) if lower else abs(found.mean) / scale
    reason = f"{len(old)} examples, and an interval needs {FEWEST_EXAMPLES}" if found.low is None else None
    verdict = _verdict(found.low, found.high, lower=lower)
    return Change(kind, name, metric, len(old), was, becomes, found.mean, found.low, found.high, size, verdict, reason)


def _verdict(low: float | None, high: float | None, *, lower: bool) -> str:
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return "no interval"
    if low <= 0 <= high:
        return "not proven"
    return "better" if (high < 0) == lower else "worse"


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _means(run_events: Sequence[Mapping[str, Any]], model: str) -> dict[str, float]:
    """Losses before (the base) or after training, by the run's own events."""
    told = [event for event in run_events if event["type"] == "held_out" and event.get("loss") is not None]
    if not told or model not in ("base", "trained") or (model == "base" and told[0]["step"] != 0):
        return {}
    if model == "trained" and told[-1]["step"] == 0:  # it has not been measured since it began
        return {}
    event: Mapping[str, Any] = told[0] if model == "base" else told[-1]
    return {ALL: float(event["loss"]), **{s: float(x) for s, x in (event.get("loss_by_source") or {}).items()}}


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        return
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict):
                yield row
