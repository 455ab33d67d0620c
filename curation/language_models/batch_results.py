"""Results of batches into `calls.sqlite`: each answer with the call that its id stands for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curation.errors import CorpusError
from curation.language_models.batch_files import REFUSED, Result, results_in
from curation.language_models.batch_store import BatchStore, Known
from curation.language_models.calls import Attempt, CallStore
from curation.language_models.completions import completion_of, cost_of
from curation.language_models.prices import Prices, endpoint_of
from curation.progress import Progress, silent

PRICE_SHARE = 0.5
"""What OpenAI takes for a call in a batch, as a share of its price."""


@dataclass(frozen=True)
class BatchTaken:
    """What result files held."""

    taken: int
    """Answers that are now kept."""
    known: int
    """Answers that were kept before; nothing is kept twice."""
    failed: int
    """Requests that failed; they are in the next frontier."""
    refused: int
    unfinished: int
    """Requests that the batch never came to; they are in the next frontier."""
    missing: int
    """Requests of these runs that no file has answered so far."""
    strangers: int
    """Results with an id that no file of this corpus has."""
    unreadable: tuple[str, ...]
    """FILE:LINE of what is no result."""
    first_error: str | None
    cost_usd: float | None
    """Of the answers taken; null when unknown."""
    cost_reason: str | None


def take_results(corpus: Path, files: Sequence[Path], *, progress: Progress = silent) -> BatchTaken:
    """Keep the answers of output and error files, each with the call that its id stands for.

    Files may be cut off, of a batch that expired, in any order, and may be given again: no answer is kept twice.

    Raises:
        CorpusError: a file can't be read, or none of them holds a result.
    """
    with CallStore(corpus / "calls.sqlite") as calls, BatchStore(corpus) as batches:
        taker = _Taker(calls, batches, Prices.read(corpus))
        for number, path in enumerate(files, 1):
            taker.take(path)
            progress(number, len(files), f"{taker.counted['taken']} answers taken")
        if files and not taker.results and taker.unreadable:
            raise CorpusError(
                f"{files[0]} holds no results of a batch.",
                fix="give the output and error files of the batch, not the file that was sent",
            )
        return taker.report()


@dataclass
class _Taker:
    calls: CallStore
    batches: BatchStore
    prices: Prices
    counted: Counter[str] = field(default_factory=Counter)
    runs: set[str] = field(default_factory=set)
    unreadable: list[str] = field(default_factory=list)
    results: int = 0
    costs: list[float | None] = field(default_factory=list)
    cost_reason: str | None = None
    first_error: str | None = None

    def take(self, path: Path) -> None:
        for result in results_in(path):
            if isinstance(result, int):
                self.unreadable.append(f"{path}:{result}")
                continue
            self.results += 1
            call = self.batches.known(result.id)
            if call is None:
                self.counted["strangers"] += 1
                continue
            self.runs.add(call.run)
            if self.calls.lookup(call.key) is not None:
                self.counted["known"] += result.response is not None
            elif result.response is not None:
                self._keep(call, result.response)
            else:
                self._note(call, result)

    def _keep(self, call: Known, response: dict[str, Any]) -> None:
        completion = completion_of(response)
        cost, reason = self._cost(call, response)
        self.calls.record(
            Attempt(
                *(call.key, call.model, call.endpoint, call.request, call.run),
                response=response,
                finish_reason=completion.finish_reason,
                input_tokens=completion.input_tokens,
                output_tokens=completion.output_tokens,
                cost_usd=cost,
                cost_reason=reason,
            )
        )
        self.counted["taken"] += 1
        self.costs.append(cost)
        self.cost_reason = self.cost_reason or reason

    def _cost(self, call: Known, response: dict[str, Any]) -> tuple[float | None, str | None]:
        """What the endpoint reports, else the price for batches; what ran on no OpenAI server has no discount."""
        reported, reason = cost_of(response, call.endpoint, call.model)
        price = self.prices.of(call.model, call.endpoint)
        if reported is not None or price is None:
            return reported, reason
        cost = price.cost(response.get("usage") or {})
        if cost is None:
            return None, f"the batch of {call.endpoint} reports no tokens"
        return cost * (PRICE_SHARE if call.endpoint == endpoint_of("openai:") else 1), None

    def _note(self, call: Known, result: Result) -> None:
        error = f"{REFUSED if result.refused else 'in a batch: '}{result.error}"
        if all(attempt.error != error for attempt in self.calls.attempts(call.key)):
            self.calls.record(Attempt(call.key, call.model, call.endpoint, call.request, call.run, error=error))
        self.counted["refused" if result.refused else "unfinished" if result.unfinished else "failed"] += 1
        if not result.unfinished:
            self.first_error = self.first_error or result.error

    def report(self) -> BatchTaken:
        known = [cost for cost in self.costs if cost is not None]
        return BatchTaken(
            **{name: self.counted[name] for name in ("taken", "known", "failed", "refused", "unfinished", "strangers")},
            missing=self._missing(),
            unreadable=tuple(self.unreadable[:20]),
            first_error=self.first_error,
            cost_usd=sum(known) if len(known) == len(self.costs) else None,
            cost_reason=self.cost_reason,
        )

    def _missing(self) -> int:
        """Calls of these runs without an answer or an error that any file gave."""
        keys = [key for run in self.runs for key in self.batches.keys(run)]
        return sum(not self.calls.attempts(key) for key in keys)
