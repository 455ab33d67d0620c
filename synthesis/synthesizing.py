"""Synthesize: seed samples in, new samples out, every call kept, nothing done twice.

A run is named by what it does, so the same command resumes it. Seed samples are drawn in an order that depends on the
random seed and their ids alone; their outcomes are written in that order as shards, a shard is moved into place in one
step, and the corpus takes each shard once. A seed sample whose calls failed is tried again by the next command.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from curation.errors import CorpusError, ModelError, OperatorError, WinnowError
from curation.language_models.calls import CallStore
from curation.language_models.chat import KeptChat, open_chat_model
from curation.progress import Progress, silent
from curation.sample import Sample, from_row
from curation.storage.sql import working
from synthesis.shards import Maker, Shards
from synthesis.synthesizer import Outcome, Steps, Synthesizer

if TYPE_CHECKING:
    import polars as pl

FAILURES_IN_A_ROW = 20
"""After so many failed seed samples without one that came through, something is wrong with all of them."""
IDS_PER_QUERY = 500


class Samples(Protocol):
    """What synthesis asks of a corpus."""

    @property
    def path(self) -> Path:
        """The folder."""
        ...

    def frame(
        self,
        columns: Sequence[str] | None = None,
        *,
        where: str | None = None,
        order: str | None = None,
        limit: int | None = None,
    ) -> pl.DataFrame:
        """Samples as rows."""
        ...

    def synthesis_run(self, run: str, operator: str, model: str) -> None:
        """Record a run; doing it twice changes nothing."""
        ...

    def add_outcomes(self, run: str, shard: str, outcomes: pl.DataFrame) -> tuple[int, int]:
        """Take a shard once; how many accepted samples were new and how many were known."""
        ...


@dataclass(frozen=True)
class SynthesizeReport:
    """What this command did; what earlier commands did for the same run is in `resumed` alone."""

    name: str
    run: str
    model: str
    seeds: int
    """Seed samples drawn."""
    resumed: int
    """Seed samples whose outcomes were there before."""
    accepted: int
    """New samples in the corpus."""
    duplicates: int
    """Accepted samples whose text the corpus had already."""
    rejected: dict[str, int]
    """Rule -> outcomes it rejected."""
    failed: int
    """Seed samples without an outcome, because a call failed; the same command tries them again."""
    calls: int
    """Calls answered by the model."""
    cached_calls: int
    """Calls answered from `calls.sqlite`."""
    input_tokens: int | None
    """null when the endpoint did not report it."""
    output_tokens: int | None
    cost_usd: float | None
    """What the calls of this command cost; null when that is unknown, which is not the same as nothing."""
    cost_reason: str | None
    """Why the cost is null."""
    first_failure: str | None = None
    """What happened to the first seed sample that failed."""


def synthesize(
    corpus: Samples,
    synthesizer: Synthesizer,
    model_spec: str,
    *,
    where: str | None = None,
    limit: int | None = None,
    seed: int = 0,
    concurrency: int = 16,
    progress: Progress = silent,
    folder: Path | None = None,
) -> SynthesizeReport:
    """Make new samples from samples of the corpus and add them; run it again to resume.

    Args:
        corpus: where the seed samples come from and the outcomes go.
        synthesizer: what to do with a seed sample.
        model_spec: who answers (see `curation.language_models.chat`).
        where: a SQL condition for seed samples; samples made by synthesis are never seed samples.
        limit: seed samples at most.
        seed: random seed of the draw and of every choice a synthesizer makes.
        concurrency: calls in flight at most.
        progress: told after every seed sample.
        folder: where the shards lie; `jobs/synthesize-RUN` in the corpus when null.

    Raises:
        OperatorError: limit or concurrency below 1.
        CorpusError: no seed sample meets the condition.
        ModelError: the model can't be opened, refuses every call, or let every seed sample fail.
    """
    for name, value in (("limit", limit), ("concurrency", concurrency)):
        if value is not None and value < 1:
            raise OperatorError(f"{name} is {value}.", fix=f"give a {name} of 1 or more")
    with CallStore(corpus.path / "calls.sqlite") as calls:
        before = calls.last()
        chat = open_chat_model(model_spec, calls=calls, concurrency=concurrency)
        run = chat.run = run_name(synthesizer, chat.model, seed, where, limit)
        maker = Maker(synthesizer.name, made_by(synthesizer, chat.model), chat.model)
        corpus.synthesis_run(run, maker.operator, chat.model)
        shards = Shards(folder or corpus.path / "jobs" / f"synthesize-{run}", corpus, run, maker)
        done = shards.take_finished()
        seeds = draw(corpus, synthesizer, where, limit, seed)
        todo = [sample for sample in seeds if sample.id not in done]
        work = _Work(synthesizer, chat, seed, shards, progress, _Tally(len(seeds), len(seeds) - len(todo)))
        asyncio.run(work.all(todo, workers=2 * concurrency))
        return work.report(run, calls, before)


def run_name(synthesizer: Synthesizer, model: str, seed: int, where: str | None, limit: int | None) -> str:
    """12 hex digits: equal commands, equal run, wherever the model is served."""
    named = json.dumps([synthesizer.spec(), model, seed, where, limit], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(named.encode()).hexdigest()[:12]


def made_by(synthesizer: Synthesizer, model: str) -> str:
    """The operator JSON of the samples it makes."""
    return json.dumps({**synthesizer.spec(), "model": model}, sort_keys=True, ensure_ascii=False)


def draw(corpus: Samples, synthesizer: Synthesizer, where: str | None, limit: int | None, seed: int) -> list[Sample]:
    """Seed samples in the order of a hash of their id and the random seed: more of them never reorders the first.

    Raises:
        CorpusError: there is none.
    """
    ingested = "root IN (SELECT id FROM samples WHERE operator IS NULL)"  # in whatever version
    condition = f"{working(where)} AND {ingested} AND NOT held_out AND instruction <> ''"
    ids = corpus.frame(["id"], where=condition)["id"].to_list()
    ids.sort(key=lambda i: hashlib.sha256(f"{seed}/{i}".encode()).digest())
    chosen: list[Sample] = []
    for start in range(0, len(ids), IDS_PER_QUERY):
        chosen += [s for s in _load(corpus, ids[start : start + IDS_PER_QUERY]) if synthesizer.suits(s)]
        if limit is not None and len(chosen) >= limit:
            break
    if not chosen:
        raise CorpusError(
            f"No sample {'of those where ' + where if where else 'of this corpus'} can be a seed sample of "
            f"{synthesizer.name} (it needs an instruction and must not be made by synthesis).",
            fix="give another --where, or ingest instructions first",
        )
    return chosen[:limit]


def _load(corpus: Samples, ids: list[str]) -> list[Sample]:
    listed = ", ".join(f"'{i}'" for i in ids)
    rows = {row["id"]: row for row in corpus.frame(where=f"id IN ({listed})").iter_rows(named=True)}
    return [from_row(rows[i]) for i in ids]


@dataclass
class _Tally:
    seeds: int
    resumed: int
    finished: int = 0
    calls: int = 0
    cached_calls: int = 0
    failures: list[str] = field(default_factory=list)
    failures_in_a_row: int = 0


@dataclass
class _Work:
    """One command's work on a run."""

    synthesizer: Synthesizer
    chat: KeptChat
    seed: int
    shards: Shards
    progress: Progress
    tally: _Tally

    async def all(self, todo: list[Sample], workers: int) -> None:
        """Every seed sample, as many at once as there are workers; one that waits for its endpoint blocks none."""
        self.shards.expect(len(todo), self.synthesizer.seeds_per_shard)
        queue = iter(enumerate(todo))
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(workers, len(todo))):
                    group.create_task(self._worker(queue))
        except ExceptionGroup as stopped:
            # Not `except*`: what is raised inside one is wrapped in a group again.
            known = stopped.subgroup(WinnowError)
            raise (known or stopped).exceptions[0] from None
        finally:
            await self.chat.close()
        if self.tally.failures and len(self.tally.failures) == self.tally.seeds:
            raise self._stop(f"None of the {self.tally.seeds} seed samples came through")

    async def _worker(self, queue: Iterator[tuple[int, Sample]]) -> None:
        for position, sample in queue:
            steps = self.synthesizer.steps(sample, self.synthesizer.random_state(sample, self.seed))
            outcomes = await self._answered(steps)
            self.shards.finish(position, sample, outcomes)
            self._count(failed=outcomes is None)

    async def _answered(self, steps: Steps) -> list[Outcome] | None:
        """Make the calls that the steps yield; null when one of them failed."""
        try:
            call = next(steps)
            while True:
                completion = await self.chat.complete(call.request)
                if completion.error is not None:
                    self.tally.failures.append(f"{call.step}: {completion.error}")
                    return None
                self.tally.calls += not completion.cached
                self.tally.cached_calls += completion.cached
                call = steps.send(completion)
        except StopIteration as end:
            outcomes: list[Outcome] = end.value
            return outcomes

    def _count(self, failed: bool) -> None:
        tally = self.tally
        tally.finished += 1
        tally.failures_in_a_row = tally.failures_in_a_row + 1 if failed else 0
        if tally.failures_in_a_row >= FAILURES_IN_A_ROW:
            raise self._stop(f"{FAILURES_IN_A_ROW} seed samples failed in a row")
        message = (
            f"{self.shards.accepted} accepted, {self.shards.rejected.total()} rejected, {len(tally.failures)} failed"
        )
        self.progress(tally.resumed + tally.finished, tally.seeds, message)

    def _stop(self, what: str) -> ModelError:
        return ModelError(
            f"{what}; the first: {self.tally.failures[0]}",
            fix="mend what it names and run the same command again; every answer so far is kept",
        )

    def report(self, run: str, calls: CallStore, before: int) -> SynthesizeReport:
        """The report, once all is done."""
        spent = calls.totals(run, after=before)
        return SynthesizeReport(
            name=self.synthesizer.name,
            run=run,
            model=self.chat.model,
            seeds=self.tally.seeds,
            resumed=self.tally.resumed,
            accepted=self.shards.added,
            duplicates=self.shards.duplicates,
            rejected=dict(sorted(self.shards.rejected.items())),
            failed=len(self.tally.failures),
            calls=self.tally.calls,
            cached_calls=self.tally.cached_calls,
            input_tokens=spent.input_tokens,
            output_tokens=spent.output_tokens,
            cost_usd=spent.cost_usd,
            cost_reason=spent.cost_reason,
            first_failure=self.tally.failures[0] if self.tally.failures else None,
        )
