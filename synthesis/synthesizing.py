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
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from curation.errors import BudgetError, ModelError, WinnowError
from curation.language_models.budget import Spending
from curation.language_models.calls import CallStore
from curation.language_models.chat import KeptChat, open_chat_model
from curation.language_models.limits import Limits
from curation.language_models.models import Completion
from curation.progress import Progress, silent
from curation.sample import Message, Sample
from synthesis.acceptance import Acceptance
from synthesis.drawing import Samples, at_least_one, draw
from synthesis.shards import Maker, Shards
from synthesis.synthesizer import Call, Outcome, Steps, Synthesizer

FAILURES_IN_A_ROW = 20
"""After so many failed seed samples without one that came through, something is wrong with all of them."""
GRACE_SECONDS = 60.0
"""How long a run that has to stop waits for the answers that are on their way: they may be paid for already."""


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
    judge: str | None = None
    """Who judged, where it was not the model itself."""
    stopped: str | None = None
    """Why seed samples are left that nobody was asked about; the same command goes on with them."""
    budget_usd: float | None = None
    """What all commands of the run together may spend; null = no limit."""
    spent_usd: float | None = None
    """What all commands of the run have spent, with what calls without an answer may have cost; null = unknown."""


def synthesize(
    corpus: Samples,
    synthesizer: Synthesizer,
    model_spec: str,
    *,
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
    first: int | None = None,
    progress: Progress = silent,
    folder: Path | None = None,
) -> SynthesizeReport:
    """Make new samples from samples of the corpus and add them; run it again to resume.

    Args:
        corpus: where the seed samples come from and the outcomes go.
        synthesizer: what to do with a seed sample; the corpus' own wording of its prompts is used.
        model_spec: who answers (see `curation.language_models.chat`).
        judge_spec: who judges; the same model when null.
        acceptance: what an outcome must be like; without one the synthesizer's own rules are all.
        where: a SQL condition for seed samples; samples made by synthesis are never seed samples.
        limit: seed samples at most.
        seed: random seed of the draw and of every choice a synthesizer makes.
        concurrency: calls in flight at most, for each of the two models.
        requests_per_minute: sent to each of the two models at most; null = what the endpoint names in its headers.
        tokens_per_minute: as above, of input and output.
        budget_usd: US dollars that all commands of the run, model and judge together, may spend; null = no limit.
        free: models on this machine cost nothing.
        first: work on the first so many seed samples of the run and leave the rest to the next command: a pilot.
        progress: told after every seed sample.
        folder: where the shards lie; `jobs/synthesize-RUN` in the corpus when null.

    Raises:
        OperatorError: limit or concurrency below 1, or a prompt of the corpus has other gaps.
        CorpusError: no seed sample meets the condition.
        ModelError: a model can't be opened, refuses every call, or let every seed sample fail; or nothing that it wrote
            was accepted.
    """
    at_least_one(limit=limit, concurrency=concurrency, first=first)
    at_least_one(requests_per_minute=requests_per_minute, tokens_per_minute=tokens_per_minute)
    synthesizer = synthesizer.with_prompts(corpus.path / "prompts")
    acceptance = (acceptance or Acceptance()).with_prompts(corpus.path / "prompts")
    spending = Spending.on_prices_of(corpus.path, limit_usd=budget_usd, free=free)
    with CallStore(corpus.path / "calls.sqlite") as calls:
        before = calls.last()
        limits = Limits(requests_per_minute, tokens_per_minute)
        chat, judge = (
            open_chat_model(spec, calls=calls, concurrency=concurrency, limits=limits, budget=spending.on(spec))
            if spec
            else None
            for spec in (model_spec, judge_spec if judge_spec != model_spec else None)
        )
        assert chat is not None
        judge = judge or chat
        run = run_name(synthesizer, chat.model, judge.model, acceptance, seed, where, limit)
        chat.run = judge.run = run
        spending.begin(calls.path, run)
        operator = made_by(synthesizer, chat.model, judge.model, acceptance)
        corpus.synthesis_run(run, operator, chat.model)
        seeds = draw(corpus, synthesizer, where, limit, seed)
        maker = Maker(synthesizer.name, operator, chat.model, judge.model)
        place = folder or corpus.path / "jobs" / f"synthesize-{run}"
        shards = Shards(place, corpus, run, maker, acceptance.gate(corpus, seeds), synthesizer)
        done = shards.take_finished()
        todo = [sample for sample in seeds[:first] if sample.id not in done]
        tally = _Tally(len(seeds), len(seeds[:first]) - len(todo))
        work = _Work(synthesizer, acceptance, chat, judge, seeds, seed, shards, spending.telling(progress), tally)
        asyncio.run(work.all(todo, workers=2 * concurrency))
        return replace(work.report(run, calls, before), budget_usd=budget_usd, spent_usd=spending.spent_usd)


def run_name(
    synthesizer: Synthesizer,
    model: str,
    judge: str,
    acceptance: Acceptance,
    seed: int,
    where: str | None,
    limit: int | None,
) -> str:
    """12 hex digits: equal commands, equal run, wherever the models are served."""
    operator = made_by(synthesizer, model, judge, acceptance)
    named = json.dumps([operator, seed, where, limit], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(named.encode()).hexdigest()[:12]


def made_by(synthesizer: Synthesizer, model: str, judge: str, acceptance: Acceptance) -> str:
    """The operator JSON of the samples it makes."""
    made = {**synthesizer.spec(), "model": model}
    made |= {"judge": judge} if judge != model else {}
    rules = acceptance.spec()
    made |= {"acceptance": rules} if rules else {}
    return json.dumps(made, sort_keys=True, ensure_ascii=False)


@dataclass
class _Tally:
    seeds: int
    resumed: int
    finished: int = 0
    calls: int = 0
    cached_calls: int = 0
    failures: list[str] = field(default_factory=list)
    failures_in_a_row: int = 0
    refusals: int = 0
    """Requests in a row that the endpoint would refuse again."""
    stopped: str | None = None
    error: WinnowError | None = None
    """What the run ends with, once the answers that are on their way are in."""


@dataclass
class _Work:
    """One command's work on a run."""

    synthesizer: Synthesizer
    acceptance: Acceptance
    chat: KeptChat
    judge: KeptChat
    seeds: Sequence[Sample]
    seed: int
    shards: Shards
    progress: Progress
    tally: _Tally

    async def all(self, todo: list[Sample], workers: int) -> None:
        """Every seed sample, as many at once as there are workers; one that waits for its endpoint blocks none."""
        size = self.synthesizer.seeds_per_shard
        self.shards.expect(len(todo), size)
        step = size if self.synthesizer.in_rounds else max(1, len(todo))
        try:
            for start in range(0, len(todo), step):
                self.synthesizer = self.synthesizer.among(self.seeds, self.shards.made)
                try:
                    await self._side_by_side(start, todo[start : start + step], workers)
                finally:
                    self.shards.write()
                if self.tally.stopped:
                    break
        finally:
            await self.chat.close()
            await self.judge.close()
        if self.tally.error is not None:
            raise self.tally.error
        if self.tally.failures and len(self.tally.failures) == self.tally.seeds:
            raise self._stop(f"None of the {self.tally.seeds} seed samples came through")
        if not self.tally.stopped and not self.tally.failures:
            self._check_some_accepted()

    async def _side_by_side(self, start: int, samples: list[Sample], workers: int) -> None:
        queue = iter(enumerate(samples, start))
        working = {asyncio.create_task(self._worker(queue)) for _ in range(min(workers, len(samples)))}
        try:
            while working:
                done, working = await asyncio.wait(working, return_when=asyncio.FIRST_COMPLETED)
                for worker in done:
                    worker.result()  # raises what is a bug
                if self.tally.error is not None and working:
                    _, working = await asyncio.wait(working, timeout=GRACE_SECONDS)
                    return
        finally:
            for worker in working:
                worker.cancel()
            await asyncio.gather(*working, return_exceptions=True)

    async def _worker(self, queue: Iterator[tuple[int, Sample]]) -> None:
        for position, sample in queue:
            if self.tally.stopped:
                return
            try:
                outcomes = await self._answered(sample)
                self.shards.finish(position, sample, outcomes)
                self._count(failed=outcomes is None)
            except BudgetError as spent:
                # What others wait for is paid for already: they go on until they would have to pay again.
                self.tally.stopped = str(spent)
                return
            except WinnowError as error:
                self.tally.error = self.tally.error or error
                self.tally.stopped = self.tally.stopped or error.message
                return

    def _steps(self, sample: Sample) -> Steps:
        outcomes = yield from self.synthesizer.steps(sample, self.synthesizer.random_state(sample, self.seed))
        return (yield from self.acceptance.checked(sample, outcomes))

    async def _answered(self, sample: Sample) -> list[Outcome] | None:
        """Make the calls that the steps yield; null when one of them failed."""
        steps = self._steps(sample)
        asked, outcomes = await self._next(steps, None)
        while outcomes is None:
            calls = (asked,) if isinstance(asked, Call) else asked
            completions = await self._completed(calls)
            for call, completion in zip(calls, completions, strict=True):
                if completion.error is not None and completion.refused:
                    self._count_refusal(completion.error)
                    return [_refused(sample, call, completion.error)]
                if completion.error is not None:
                    self.tally.failures.append(f"{call.step}: {completion.error}")
                    return None
            self.tally.refusals = 0
            asked, outcomes = await self._next(steps, completions[0] if isinstance(asked, Call) else completions)
        return outcomes

    async def _next(self, steps: Steps, given: Any) -> tuple[Any, list[Outcome] | None]:
        """What the steps ask next, or what they end with; programs that they run meanwhile hold up no other call."""

        def resumed() -> tuple[Any, list[Outcome] | None]:
            try:
                return steps.send(given), None
            except StopIteration as end:  # which can't leave a thread
                return None, end.value

        runs_code = self.synthesizer.runs_code or self.acceptance.run_tests
        return await asyncio.to_thread(resumed) if runs_code else resumed()

    async def _completed(self, calls: Sequence[Call]) -> list[Completion]:
        """The completions of calls that are made at once; all are waited for, even when one may not be paid."""
        if self.tally.error is not None:
            raise self.tally.error
        asked = [(self.judge if call.role == "judge" else self.chat).complete(call.request) for call in calls]
        # One alone needs no task of its own: that is a twentieth of the time of a call.
        found = [await asked[0]] if len(asked) == 1 else await asyncio.gather(*asked, return_exceptions=True)
        completions = []
        for completion in found:
            if isinstance(completion, BaseException):
                raise completion
            self.tally.calls += completion.error is None and not completion.cached
            self.tally.cached_calls += completion.cached
            completions.append(completion)
        return completions

    def _count_refusal(self, error: str) -> None:
        """Too long is a sample by itself; many in a row are about how they are asked."""
        self.tally.refusals += 1
        if self.tally.refusals >= FAILURES_IN_A_ROW:
            raise ModelError(
                f"{FAILURES_IN_A_ROW} requests in a row were refused; the last: {error}",
                fix="change the parameter that it names, or choose another model",
            )

    def _check_some_accepted(self) -> None:
        """A run of which nothing is left has failed, whatever the status codes were.

        Raises:
            ModelError: nothing was accepted, by this command or those before it.
        """
        if self.shards.first_rejected is None or self.shards.any_accepted:
            return
        rule, detail, text = self.shards.first_rejected
        raise ModelError(
            f"None of {self.shards.rejected_of_run:,} outcomes was accepted; the first by {rule!r} ({detail}); it is "
            f"{' '.join(text.split())[:300]!r}.",
            fix="read the rejected ones on the page Synthesize, then change the parameter, the prompt or the model",
        )

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
            rejected={rule: n for rule, n in sorted(self.shards.rejected.items()) if n},
            failed=len(self.tally.failures),
            calls=self.tally.calls,
            cached_calls=self.tally.cached_calls,
            input_tokens=spent.input_tokens,
            output_tokens=spent.output_tokens,
            cost_usd=spent.cost_usd,
            cost_reason=spent.cost_reason,
            first_failure=self.tally.failures[0] if self.tally.failures else None,
            judge=self.judge.model if self.judge is not self.chat else None,
            stopped=self.tally.stopped,
        )


def _refused(sample: Sample, call: Call, error: str) -> Outcome:
    """What the endpoint would refuse again, such as what is too long for it, is settled."""
    asked = call.request.prompt or (call.request.messages[-1][1] if call.request.messages else "")
    turns = sample.messages or (Message("user", asked),)
    return Outcome(turns, (call,), rejected_by="refused", detail=error)
