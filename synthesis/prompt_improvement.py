"""Better wording of a prompt, found by trying: what fails on a small set of seed samples says what to change.

Source: Auto Evol-Instruct (Zeng et al. 2024, arXiv:2406.00770): mini-batches of 10, 5 candidates, a development set of
50, the candidate with the lowest failure rate goes on.
Differs from the source: any prompt of any synthesizer; a failure is an outcome that the synthesizer's own rules reject
(for Evol-Instruct its elimination rules, with the paper's three patterns among them); own wording of the optimizer's
prompt; the former wording stays where no candidate fails less.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import Counter
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from curation.errors import BudgetError, CorpusError, ModelError, OperatorError, unknown
from curation.language_models.budget import Spending
from curation.language_models.calls import CallStore
from curation.language_models.chat import KeptChat, open_chat_model
from curation.language_models.models import ChatRequest, Completion
from curation.progress import Progress, silent
from curation.sample import Sample
from synthesis.drawing import Samples, at_least_one, draw
from synthesis.prompting import Prompts, checked, gaps
from synthesis.synthesizer import Call, Outcome, Synthesizer

T = TypeVar("T")
OPTIMIZER_PROMPT = "improve_prompt"
_HEADING = re.compile(
    r"(?im)^[ \t#*_【\[]*(?:(?:new|improved|rewritten) prompt|新的?提示词)[ \t#*_】\]]*(?:[:：][ \t*]*)?$"
)
SHOWN_CHARACTERS = 600
"""So much of a text is shown to the optimizer."""


@dataclass(frozen=True)
class TriedWording:
    """A wording and how it did on the development set."""

    version: str
    """First 12 hex digits of its SHA-256, as in the specs of runs."""
    step: int
    """0 = the wording that was there before."""
    failure_rate: float | None
    """Rejected outcomes of all, 0..1; null where it was not tried."""
    rules: dict[str, int] = field(default_factory=dict)
    """Rule -> outcomes it rejected."""
    kept: bool = False
    """Whether the search went on with it."""
    problem: str | None = None
    """Why it was not tried."""
    text: str = ""


@dataclass(frozen=True)
class ImproveReport:
    """What the search found."""

    prompt: str
    synthesizer: str
    model: str
    optimizer: str
    failure_before: float
    failure_after: float
    written: str | None
    """The file with the new wording; null where the old one is as good."""
    former: str | None
    """Where the user's own former wording was put, if there was one."""
    steps: int
    calls: int
    spent_usd: float | None
    """What all searches for this prompt have spent; null = unknown."""
    stopped: str | None
    """Why wordings are left that nobody tried; the same command goes on with them."""
    failed: int
    """Seed samples that were left out of a comparison, because a call failed."""
    first_failure: str | None
    tried: list[TriedWording]


class _Wording(Prompts):
    """The user's prompts, with another wording of one."""

    def __init__(self, folder: Path, name: str, text: str) -> None:
        super().__init__(folder)
        self._read[name] = text


@dataclass
class _Search:
    """One search for a better wording."""

    synthesizer: Synthesizer
    prompt: str
    folder: Path
    chat: KeptChat
    judge: KeptChat
    optimizer: KeptChat
    seed: int
    calls: int = 0
    failed: int = 0
    first_failure: str = ""
    stopped: str | None = None

    def worded(self, text: str) -> Synthesizer:
        """The synthesizer with this wording."""
        mine = self.synthesizer.model_copy()
        mine._prompts = _Wording(self.folder, self.prompt, text)
        return mine

    async def outcomes(self, text: str, seeds: Sequence[Sample]) -> list[list[Outcome]]:
        """What comes of each seed sample with this wording; nothing of one whose call failed.

        Raises:
            ModelError: no seed sample came through.
        """
        synthesizer = self.worded(text)
        found = await _all(self._played(synthesizer, sample) for sample in seeds)
        if not any(found):
            raise ModelError(
                f"None of the {len(seeds)} seed samples came through; the first: {self.first_failure}",
                fix="mend what it names and run the same command again; every answer so far is kept",
            )
        return found

    async def _played(self, synthesizer: Synthesizer, sample: Sample) -> list[Outcome]:
        steps = synthesizer.steps(sample, synthesizer.random_state(sample, self.seed))
        try:
            asked = next(steps)
            while True:
                calls = (asked,) if isinstance(asked, Call) else asked
                completions = await _all(map(self._answer, calls))
                if wrong := next((completion.error for completion in completions if completion.error), None):
                    self.failed += 1
                    self.first_failure = self.first_failure or wrong
                    return []
                asked = steps.send(completions[0] if isinstance(asked, Call) else completions)
        except StopIteration as end:
            outcomes: list[Outcome] = end.value
            return outcomes

    async def _answer(self, call: Call) -> Completion:
        self.calls += 1
        return await (self.judge if call.role == "judge" else self.chat).complete(call.request)

    async def tried(self, text: str, step: int, seeds: Sequence[Sample]) -> TriedWording:
        """How a wording does on these seed samples."""
        outcomes = [outcome for each in await self.outcomes(text, seeds) for outcome in each]
        rules = Counter(outcome.rejected_by for outcome in outcomes if outcome.rejected_by)
        rate = rules.total() / len(outcomes)
        return TriedWording(_version(text), step, rate, dict(sorted(rules.items())), text=text)

    async def candidates(self, text: str, step: int, batch: Sequence[Sample], count: int) -> list[TriedWording]:
        """New wordings by the optimizer, who sees what the present one does; those that can't be used say why."""
        shown = [_trajectory(s, each) for s, each in zip(batch, await self.outcomes(text, batch), strict=True) if each]
        asked = self.synthesizer._prompts.fill(
            OPTIMIZER_PROMPT,
            prompt=text,
            gaps=", ".join(f"{{{{{gap}}}}}" for gap in gaps(text)) or "none",
            trajectories="\n\n".join(shown),
        )
        requests = [
            ChatRequest((("user", asked),), {"temperature": 1.0, "max_tokens": 4096}, sample_index=n)
            for n in range(count)
        ]
        self.calls += count
        replies = await _all(self.optimizer.complete(request) for request in requests)
        return [self._candidate(reply, step) for reply in replies]

    def _candidate(self, reply: Completion, step: int) -> TriedWording:
        if reply.text is None or reply.finish_reason == "length":
            return TriedWording("", step, None, problem=reply.error or "cut off at the length limit")
        text = wording_in(reply.text)
        try:
            return TriedWording(_version(text), step, None, text=checked(self.prompt, text))
        except OperatorError as wrong:
            return TriedWording(_version(text), step, None, problem=wrong.message, text=text)

    def report(self, tried: list[TriedWording], steps: int, spent_usd: float | None) -> ImproveReport:
        """Write the best wording where it is better than the one that was there, and tell all of it."""
        written, former = _written(self.folder, self.prompt, tried)
        return ImproveReport(
            prompt=self.prompt,
            synthesizer=self.synthesizer.name,
            model=self.chat.model,
            optimizer=self.optimizer.model,
            failure_before=_rate(tried[0]),
            failure_after=min(_rate(one) for one in tried),
            written=written,
            former=former,
            steps=steps,
            calls=self.calls,
            spent_usd=spent_usd,
            stopped=self.stopped,
            failed=self.failed,
            first_failure=self.first_failure or None,
            tried=tried,
        )


async def _all(asked: Iterable[Awaitable[T]]) -> list[T]:
    """What comes of all; where some raise, the first of it, once the others, which may be paid for, are in."""
    found = await asyncio.gather(*asked, return_exceptions=True)
    if raised := next((one for one in found if isinstance(one, BaseException)), None):
        raise raised
    return [one for one in found if not isinstance(one, BaseException)]


def improve_prompt(
    corpus: Samples,
    synthesizer: Synthesizer,
    prompt: str,
    model_spec: str,
    *,
    judge_spec: str | None = None,
    optimizer_spec: str | None = None,
    where: str | None = None,
    steps: int = 3,
    batch: int = 10,
    candidates: int = 5,
    dev: int = 50,
    seed: int = 0,
    concurrency: int = 16,
    budget_usd: float | None = None,
    free: bool = False,
    progress: Progress = silent,
) -> ImproveReport:
    """Look for a wording of a prompt with which fewer outcomes are rejected, and write it to `CORPUS/prompts/NAME.md`.

    Every call is kept: the same command again costs nothing up to where it was.

    Args:
        corpus: where the seed samples come from; its own wording of the prompt is where the search begins.
        synthesizer: whose prompt it is.
        prompt: name of the prompt.
        model_spec: who answers.
        judge_spec: who judges; the same model when null.
        optimizer_spec: who writes new wordings; the same model when null.
        where: a SQL condition for seed samples.
        steps: rounds of looking at failures, writing candidates and trying them; the paper makes about 10.
        batch: seed samples whose outcomes the optimizer sees in a round.
        candidates: wordings it writes in a round.
        dev: seed samples on which wordings are compared.
        seed: random seed of the draw.
        concurrency: calls in flight at most.
        budget_usd: US dollars that all searches for this prompt together may spend; null = no limit.
        free: models on this machine cost nothing.
        progress: told after each wording that was tried.

    Raises:
        OperatorError: the synthesizer has no such prompt, or a number is below 1.
        CorpusError: there are fewer than two seed samples.
        ModelError: a model can't be opened, or answers nothing.
        BudgetError: it does not even last for the wording that is there.
    """
    if prompt not in synthesizer.prompts:
        raise unknown(f"prompt of {synthesizer.name}", prompt, synthesizer.prompts)
    at_least_one(steps=steps, batch=batch, candidates=candidates, dev=dev)
    folder = corpus.path / "prompts"
    synthesizer = synthesizer.with_prompts(folder)
    seeds = draw(corpus, synthesizer, where, dev + batch * steps, seed)
    if len(seeds) < 2:
        raise CorpusError("There is but one seed sample.", fix="give another --where, or ingest more samples")
    held, rest = _split(seeds, dev)
    with CallStore(corpus.path / "calls.sqlite") as store:
        spending = Spending.on_prices_of(corpus.path, limit_usd=budget_usd, free=free)
        run = f"improve-{prompt}"

        def opened(spec: str) -> KeptChat:
            return open_chat_model(spec, calls=store, run=run, concurrency=concurrency, budget=spending.on(spec))

        chat = opened(model_spec)
        judge, optimizer = (opened(spec) if spec else chat for spec in (judge_spec, optimizer_spec))
        spending.begin(store.path, run)
        search = _Search(synthesizer, prompt, folder, chat, judge, optimizer, seed)
        batches = [_cycled(rest, batch * step, batch) for step in range(steps)]
        tried = asyncio.run(_searched(search, held, batches, candidates, spending.telling(progress)))
    return search.report(tried, steps, spending.spent_usd)


async def _searched(
    search: _Search, dev: Sequence[Sample], batches: Sequence[list[Sample]], count: int, progress: Progress
) -> list[TriedWording]:
    """Every wording, tried or not, in order; the first is the one that was there."""
    total = 1 + len(batches) * count
    text = search.synthesizer._prompts.text(search.prompt)
    try:
        best = _kept(await search.tried(text, 0, dev))
        tried = [best]
        progress(1, total, f"fails on {best.failure_rate:.0%}")
        for step, batch in enumerate(batches, 1):
            found: list[TriedWording] = []
            try:
                for candidate in await search.candidates(best.text, step, batch, count):
                    found.append(candidate if candidate.problem else await search.tried(candidate.text, step, dev))
                    lowest = min(_rate(best), *map(_rate, found))
                    progress(len(tried) + len(found), total, f"best so far fails on {lowest:.0%}")
            except BudgetError as spent:
                search.stopped = str(spent)
            better = min(found, key=_rate, default=best)
            if _rate(better) < _rate(best):
                found[found.index(better)] = best = _kept(better)
            tried += found
            if best.failure_rate == 0 or search.stopped:
                break
        return tried
    finally:
        for model in {id(m): m for m in (search.chat, search.judge, search.optimizer)}.values():
            await model.close()


def _split(seeds: list[Sample], dev: int) -> tuple[list[Sample], list[Sample]]:
    """The development set, and what mini-batches are taken from: other samples, at least a third of a small corpus."""
    most = min(dev, max(1, len(seeds) * 2 // 3))
    return seeds[:most], seeds[most:]


def _cycled(samples: Sequence[Sample], start: int, count: int) -> list[Sample]:
    return [samples[(start + n) % len(samples)] for n in range(min(count, len(samples)))]


def _kept(tried: TriedWording) -> TriedWording:
    return TriedWording(tried.version, tried.step, tried.failure_rate, tried.rules, True, tried.problem, tried.text)


def _rate(tried: TriedWording) -> float:
    return 1.0 if tried.failure_rate is None else tried.failure_rate


def _version(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def wording_in(reply: str) -> str:
    """The new prompt in a reply: after the heading, without its fence; else what stands in the last fence; else all."""
    headings = list(_HEADING.finditer(reply))
    text = reply[headings[-1].end() :].strip() if headings else reply.strip()
    fenced = re.search(r"^(`{3,})[^\n]*\n(.*)^\1[ \t]*$", text, re.DOTALL | re.MULTILINE)
    return (fenced[2] if fenced else text).strip()


def _trajectory(sample: Sample, outcomes: Sequence[Outcome]) -> str:
    """What became of a seed sample, as the optimizer reads it."""
    lines = [f"Given: {_short(sample.instruction or sample.response)}"]
    for outcome in outcomes:
        verdict = f"rejected by {outcome.rejected_by}: {outcome.detail}" if outcome.rejected_by else "accepted"
        lines += [f"{turn.role}: {_short(turn.content)}" for turn in outcome.messages if turn.role != "system"]
        lines.append(f"-> {verdict}")
    return "\n".join(lines)


def _short(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]} […]"


def _written(folder: Path, prompt: str, tried: Sequence[TriedWording]) -> tuple[str | None, str | None]:
    """Write the last wording that was kept, unless it is the first; the user's former wording is put aside."""
    best = [one for one in tried if one.kept][-1]
    if best.step == 0:
        return None, None
    folder.mkdir(exist_ok=True)
    path, former = folder / f"{prompt}.md", None
    if path.exists():
        aside = folder / "former" / f"{prompt}-{tried[0].version}.md"
        aside.parent.mkdir(exist_ok=True)
        path.replace(aside)
        former = str(aside)
    path.write_text(best.text + "\n", encoding="utf-8")
    return str(path), former
