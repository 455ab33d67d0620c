"""What a run will take, before it is paid for: a pilot on its first seed samples, and what that says of all of them.

The pilot is the beginning of the run itself: its calls, outcomes and shards are those of the run, so nothing of it is
wasted. The forecast is the mean of the settled seed samples times their number in the run, with an interval from the
bootstrap over seed samples, widened to that of the accepted share.
"""

from __future__ import annotations

import json
import math
import random
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curation.errors import OperatorError
from curation.intervals import Z90, wilson
from curation.language_models.budget import Spending
from curation.progress import Progress, silent
from synthesis.acceptance import Acceptance
from synthesis.bounding import UpperBound, upper_bound
from synthesis.drawing import Samples
from synthesis.synthesizer import Synthesizer
from synthesis.synthesizing import SynthesizeReport, synthesize

MOST_PILOT_SEEDS = 20
PILOT_SHARE = 0.02
FEWEST_PILOT_SEEDS = 5
"""Of fewer no share can be told."""
RESAMPLES = 1_000
RESAMPLED_SEEDS = 500
"""Seed samples of one resample at most; of more the interval is narrower than it shows."""
LOW, HIGH = 0.05, 0.95
UNPARSED = ("unparsed", "unreadable", "malformed", "format", "parse", "empty", "truncated", "no-json")
"""A rule with one of these words in its name rejects answers that could not be read."""


@dataclass(frozen=True)
class Estimate:
    """A forecast and the interval that holds it 9 times of 10, if the other seed samples are like the pilot's."""

    mean: float
    low: float
    high: float | None
    """null = no upper end: so little was accepted that it may be nothing."""


@dataclass(frozen=True)
class StepUse:
    """What the answered calls of one step took."""

    step: str
    calls: int
    mean_input_tokens: float
    p90_input_tokens: float
    mean_output_tokens: float
    p90_output_tokens: float


@dataclass(frozen=True)
class Forecast:
    """What all seed samples of a run will take, those of the pilot included."""

    seeds: int
    pilot_seeds: int
    """Seed samples with outcomes so far, which the forecast rests on."""
    accepted: int
    """Outcomes that no rule rejected, so far."""
    outcomes: int
    accepted_share: float | None
    unparsed_share: float | None
    """Of the outcomes, those rejected because the answer was empty, cut off or could not be read."""
    steps: list[StepUse]
    samples: Estimate
    """Accepted in the whole run."""
    input_tokens: Estimate | None
    """null = an endpoint does not report its tokens."""
    output_tokens: Estimate | None
    tokens_per_accepted: Estimate | None
    cost_usd: Estimate | None
    usd_per_accepted: Estimate | None
    """null = a price is not known, or nothing was accepted."""
    cost_reason: str | None
    seconds: float | None
    """If the endpoint keeps its pace with `concurrency` calls in flight; null = no call was timed."""


@dataclass(frozen=True)
class PilotReport:
    """What the pilot did and what it foretells."""

    name: str
    run: str
    most: UpperBound
    pilot: SynthesizeReport | None
    """null = nothing was asked: only the upper bound was wanted."""
    forecast: Forecast | None


@dataclass
class _Seed:
    """What one seed sample took."""

    calls: set[str] = field(default_factory=set)
    outcomes: int = 0
    accepted: int = 0
    unparsed: int = 0
    sent: float = 0.0
    received: float = 0.0
    cost_usd: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True)
class _Paid:
    """An answered call."""

    sent: int | None
    received: int | None
    cost_usd: float | None
    reason: str | None
    seconds: float | None


def pilot_size(seeds: int, synthesizer: Synthesizer) -> int:
    """Seed samples of a pilot: 2 % of the run, at least 5 and at most 20; whole rounds where it works in rounds."""
    size = min(MOST_PILOT_SEEDS, max(FEWEST_PILOT_SEEDS, math.ceil(PILOT_SHARE * seeds)))
    if synthesizer.in_rounds:
        size = math.ceil(size / synthesizer.seeds_per_shard) * synthesizer.seeds_per_shard
    return min(size, seeds)


def pilot(
    corpus: Samples,
    synthesizer: Synthesizer,
    model_spec: str,
    *,
    size: int | None = None,
    judge_spec: str | None = None,
    acceptance: Acceptance | None = None,
    where: str | None = None,
    limit: int | None = None,
    seed: int = 0,
    concurrency: int = 16,
    requests_per_minute: float | None = None,
    tokens_per_minute: float | None = None,
    budget_usd: float | None = None,
    free: bool = False,
    progress: Progress = silent,
) -> PilotReport:
    """Begin the run that `synthesize` with the same arguments makes, and say what the whole of it will take.

    Args:
        corpus: as for `synthesize`, and so are those that are not listed here.
        synthesizer: what to do with a seed sample.
        model_spec: who answers.
        size: seed samples of the pilot; `pilot_size` when null; 0 asks nobody and gives the upper bound alone.
        judge_spec: who judges.
        acceptance: what an outcome must be like.
        where: a SQL condition for seed samples.
        limit: seed samples of the run at most.
        seed: random seed.
        concurrency: calls in flight at most.
        requests_per_minute: sent to each of the two models at most.
        tokens_per_minute: as above, of input and output.
        budget_usd: US dollars that may be spent.
        free: models on this machine cost nothing.
        progress: told after every seed sample.

    Raises:
        OperatorError: the size is below 0, or what `synthesize` raises.
        ModelError: as for `synthesize`; also when the pilot accepted nothing.
    """
    if size is not None and size < 0:
        raise OperatorError(f"The pilot is {size}.", fix="give 1 or more seed samples, or 0 for the upper bound alone")
    same: dict[str, Any] = {
        "judge_spec": judge_spec,
        "acceptance": acceptance,
        "where": where,
        "limit": limit,
        "seed": seed,
        "free": free,
    }
    most = upper_bound(corpus, synthesizer, model_spec, **same)
    if size == 0:
        Spending.on_prices_of(corpus.path, limit_usd=budget_usd, free=free).on(model_spec)
        return PilotReport(synthesizer.name, "", most, None, None)
    first = min(size or pilot_size(most.seeds, synthesizer), most.seeds)
    report = synthesize(
        corpus,
        synthesizer,
        model_spec,
        first=first,
        concurrency=concurrency,
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        budget_usd=budget_usd,
        progress=progress,
        **same,
    )
    spending = Spending.on_prices_of(corpus.path, free=free)
    foretold = forecast(corpus.path, report.run, report.seeds, spending, concurrency, requests_per_minute)
    return PilotReport(report.name, report.run, most, report, foretold)


def forecast(
    folder: Path,
    run: str,
    seeds: int,
    spending: Spending,
    concurrency: int,
    requests_per_minute: float | None = None,
) -> Forecast:
    """What a run of so many seed samples will take, from what it has settled so far.

    Args:
        folder: of the corpus.
        run: its name.
        seeds: seed samples of the whole run.
        spending: with the prices.
        concurrency: calls in flight at most.
        requests_per_minute: sent at most.
    """
    settled, steps = _settled(folder / "jobs" / f"synthesize-{run}")
    paid, other = _paid(folder / "calls.sqlite", run, set(steps), spending)
    counted = all(p.sent is not None and p.received is not None for p in (*paid.values(), *other))
    reason = next((p.reason for p in (*paid.values(), *other) if p.cost_usd is None), None)
    for taken in settled:
        found = [paid[key] for key in taken.calls if key in paid]
        for calls, share in ((found, 1.0), (other, 1 / len(settled))):  # retries belong to no seed sample
            taken.sent += share * sum(p.sent or 0 for p in calls)
            taken.received += share * sum(p.received or 0 for p in calls)
            taken.cost_usd += share * sum(p.cost_usd or 0 for p in calls)
            taken.seconds += share * sum(p.seconds or 0 for p in calls)
    outcomes = sum(s.outcomes for s in settled)
    accepted = sum(s.accepted for s in settled)
    estimate = _Bootstrap(settled, seeds)
    return Forecast(
        seeds=seeds,
        pilot_seeds=len(settled),
        accepted=accepted,
        outcomes=outcomes,
        accepted_share=accepted / outcomes if outcomes else None,
        unparsed_share=sum(s.unparsed for s in settled) / outcomes if outcomes else None,
        steps=_uses(steps, paid),
        samples=estimate.samples(accepted, outcomes),
        input_tokens=estimate.whole(lambda s: s.sent) if counted else None,
        output_tokens=estimate.whole(lambda s: s.received) if counted else None,
        tokens_per_accepted=estimate.per_accepted(lambda s: s.sent + s.received, accepted, outcomes)
        if counted
        else None,
        cost_usd=None if reason else estimate.whole(lambda s: s.cost_usd),
        usd_per_accepted=None if reason else estimate.per_accepted(lambda s: s.cost_usd, accepted, outcomes),
        cost_reason=reason,
        seconds=_seconds(settled, seeds, concurrency, len(steps) / max(1, len(settled)), requests_per_minute),
    )


def _seconds(
    settled: Sequence[_Seed], seeds: int, concurrency: int, calls: float, per_minute: float | None
) -> float | None:
    """Seconds for all seed samples, each of so many calls; never less than the slowest of them takes."""
    if not any(taken.seconds for taken in settled):
        return None
    slowest = max(taken.seconds for taken in settled)
    side_by_side = sum(taken.seconds for taken in settled) / len(settled) * seeds / concurrency
    return max(slowest, side_by_side, 60 * calls * seeds / per_minute if per_minute else 0.0)


def _settled(folder: Path) -> tuple[list[_Seed], dict[str, str]]:
    """The seed samples with outcomes, and which step each call was for."""
    import polars as pl

    seeds: dict[str, _Seed] = defaultdict(_Seed)
    steps: dict[str, str] = {}
    for path in sorted(folder.glob("out-*.parquet")):
        rows = pl.read_parquet(path, columns=["metadata", "rejected_by"])
        for metadata, rejected_by in rows.iter_rows():
            told = json.loads(metadata)
            taken = seeds[told["seed_id"]]
            taken.calls.update(told["calls"].values())
            steps |= {key: step for step, key in told["calls"].items()}
            taken.outcomes += 1
            taken.accepted += rejected_by is None
            taken.unparsed += any(word in (rejected_by or "") for word in UNPARSED)
    return list(seeds.values()), steps


def _paid(calls: Path, run: str, keys: set[str], spending: Spending) -> tuple[dict[str, _Paid], list[_Paid]]:
    """The calls with these keys, whoever paid for them; and what else the run paid for, such as retries."""
    paid: dict[str, _Paid] = {}
    other: list[_Paid] = []
    database = sqlite3.connect(f"file:{calls}?mode=ro", uri=True, timeout=60)
    try:
        rows = database.execute(
            "SELECT key, run, model, endpoint, input_tokens, output_tokens, cost_usd, cost_reason, seconds FROM calls "
            "WHERE (error IS NULL OR cost_usd > 0) "
            "AND key IN (SELECT value FROM json_each(?) UNION SELECT key FROM calls WHERE run = ?) "
            "ORDER BY key, attempt",
            (json.dumps(sorted(keys)), run),
        )
        for key, of_run, model, endpoint, sent, received, cost, reason, seconds in rows:
            price = spending.prices.of(model, endpoint)
            if cost is None and price is not None and sent is not None and received is not None:
                cost = price.of_tokens(sent, received)
            found = _Paid(sent, received, cost, reason if cost is None else None, seconds)
            if key in keys:
                paid[key] = found
            elif of_run == run:
                other.append(found)
    finally:
        database.close()
    return paid, other


def _uses(steps: dict[str, str], paid: dict[str, _Paid]) -> list[StepUse]:
    found: dict[str, list[_Paid]] = defaultdict(list)
    for key, step in steps.items():
        if key in paid:
            found[step].append(paid[key])
    return [
        StepUse(step, len(calls), *_mean_p90([p.sent for p in calls]), *_mean_p90([p.received for p in calls]))
        for step, calls in found.items()
    ]


def _mean_p90(values: Sequence[int | None]) -> tuple[float, float]:
    known = sorted(v for v in values if v is not None)
    if not known:
        return math.nan, math.nan
    return sum(known) / len(known), float(known[math.ceil(0.9 * len(known)) - 1])


class _Bootstrap:
    """Estimates with intervals: seed samples drawn with replacement, the same draws for each of them."""

    def __init__(self, settled: Sequence[_Seed], seeds: int) -> None:
        self._settled = settled
        self._seeds = seeds
        rng = random.Random(0)
        size = min(RESAMPLED_SEEDS, len(settled))
        self._draws = [[rng.randrange(len(settled)) for _ in range(size)] for _ in range(RESAMPLES)] if settled else []

    def whole(self, of: Callable[[_Seed], float]) -> Estimate:
        """The sum over all seed samples of the run."""
        values = [of(s) for s in self._settled]
        if not values:
            return Estimate(0.0, 0.0, None)
        drawn = sorted(sum(values[i] for i in d) / len(d) * self._seeds for d in self._draws)
        return Estimate(sum(values) / len(values) * self._seeds, _at(drawn, LOW), _at(drawn, HIGH))

    def samples(self, accepted: int, outcomes: int) -> Estimate:
        """Accepted in the whole run; where all or none were, drawing with replacement would not know any doubt."""
        found = self.whole(lambda s: s.accepted)
        low, high = wilson(accepted, outcomes, z=Z90)
        each = outcomes / max(1, len(self._settled)) * self._seeds
        return Estimate(found.mean, min(found.low, low * each), max(found.high or 0.0, high * each))

    def per_accepted(self, of: Callable[[_Seed], float], accepted: int, outcomes: int) -> Estimate | None:
        """The sum for each accepted outcome; null where there is none."""
        if not accepted:
            return None
        values, counts = [of(s) for s in self._settled], [s.accepted for s in self._settled]
        drawn = []
        for draw in self._draws:
            found = sum(counts[i] for i in draw)
            drawn.append(sum(values[i] for i in draw) / found if found else math.inf)
        drawn.sort()
        low, high = wilson(accepted, outcomes, z=Z90)
        mean = sum(values) / accepted
        dearest = max(_at(drawn, HIGH), mean * accepted / outcomes / low)
        cheapest = min(_at(drawn, LOW), mean * accepted / outcomes / high)
        return Estimate(mean, cheapest, dearest if math.isfinite(dearest) else None)


def _at(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
