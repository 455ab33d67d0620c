"""Synthesis in batches: what a run has to ask next is written to files, and answers come back into `calls.sqlite`.

A synthesizer is replayed for every seed sample up to the first call that the store does not know; those calls are the
frontier. It is written in the format of OpenAI's Batch and `vllm run-batch`; once the results are taken, the next
frontier begins where this one ended, and when none is left `synthesize` with the same arguments makes no call at all.
What a batch left out (it expired, a line is missing, a request failed) is simply part of the next frontier.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from pathlib import Path

from curation.errors import OperatorError
from curation.language_models.batch_files import ID_DIGITS, RAW, REFUSED, asked, model_in, write_files
from curation.language_models.batch_store import BatchStore
from curation.language_models.calls import CallStore, call_key
from curation.language_models.chat import model_name, open_chat_model
from curation.language_models.completions import completion_of
from curation.language_models.models import Completion
from curation.language_models.prices import endpoint_of
from curation.progress import Progress, silent
from curation.sample import Sample
from synthesis.acceptance import Acceptance
from synthesis.drawing import Samples, draw
from synthesis.synthesizer import Call, Steps, Synthesizer
from synthesis.synthesizing import run_name


@dataclass(frozen=True)
class BatchWritten:
    """What is to be asked next."""

    run: str
    """The run that `synthesize` will finish with these answers."""
    model: str
    """As its server calls it."""
    files: tuple[str, ...]
    requests: int
    seeds: int
    finished: int
    """Seed samples that need no call any more."""
    in_flight: int
    """Calls left out because a batch that was sent may still answer them."""
    refused: int
    """Calls left out because the endpoint would refuse them again."""


def write_batch(
    corpus: Samples,
    synthesizer: Synthesizer,
    model_spec: str,
    folder: Path,
    *,
    judge_spec: str | None = None,
    acceptance: Acceptance | None = None,
    where: str | None = None,
    limit: int | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> BatchWritten:
    """Write the calls that a run needs next into files; nothing is sent.

    Args:
        corpus: as for `synthesize`.
        synthesizer: as for `synthesize`.
        model_spec: as for `synthesize`; no server is needed.
        folder: where the files go.
        judge_spec: as for `synthesize`.
        acceptance: as for `synthesize`.
        where: as for `synthesize`.
        limit: as for `synthesize`.
        seed: as for `synthesize`.
        progress: told after every seed sample.

    Raises:
        OperatorError: the synthesizer works in rounds, each of which depends on what was accepted before, or it sends
            raw prompts and the model is `vllm:`.
        CorpusError: no seed sample meets the condition.
        ModelError: a spec can't be read.
    """
    if synthesizer.in_rounds:
        raise OperatorError(
            f"{synthesizer.name} works in rounds, and what a round asks depends on what was accepted before.",
            fix="run it without a batch: winnow synthesize",
        )
    synthesizer = synthesizer.with_prompts(corpus.path / "prompts")
    acceptance = (acceptance or Acceptance()).with_prompts(corpus.path / "prompts")
    with CallStore(corpus.path / "calls.sqlite") as calls, BatchStore(corpus.path) as batches:
        names = {"model": _named(model_spec, calls)}
        names["judge"] = _named(judge_spec, calls) if judge_spec else names["model"]
        run = run_name(synthesizer, names["model"], names["judge"], acceptance, seed, where, limit)
        seeds = draw(corpus, synthesizer, where, limit, seed)
        acceptance.gate(corpus, seeds)  # so that it knows the corpus, as in the run
        found = _Frontier(synthesizer.among(seeds, ()), acceptance, names, calls, seed)
        for number, sample in enumerate(seeds, 1):
            found.replay(sample)
            progress(number, len(seeds), f"{len(found.calls)} calls to make")
        in_flight = batches.in_flight()
        specs = {"model": model_spec, "judge": judge_spec or model_spec}
        lines = [
            asked(specs[call.role], names[call.role], endpoint_of(specs[call.role]), call.request)
            for key, call in found.calls.items()
            if key[:ID_DIGITS] not in in_flight
        ]
        if any(line.url == RAW and line.endpoint == "vllm" for line in lines):
            raise OperatorError(
                f"{synthesizer.name} sends raw prompts, which `vllm run-batch` does not take.",
                fix="run it without a batch: winnow synthesize",
            )
        batches.remember(lines, run)
        files = write_files(folder, run, lines)
    return BatchWritten(
        run,
        model_in(model_spec),
        tuple(map(str, files)),
        requests=len(lines),
        seeds=len(seeds),
        finished=found.finished,
        in_flight=len(found.calls) - len(lines),
        refused=len(found.refused),
    )


def _named(spec: str, calls: CallStore) -> str:
    """What the model is called in keys: as `synthesize` will call it, without its key or server where that may be."""
    if not spec.startswith(("http:", "https:")):
        return model_name(spec)
    chat = open_chat_model(spec, calls=calls)
    asyncio.run(chat.close())
    return chat.model


@dataclass
class _Frontier:
    """The first calls of each seed sample that the store does not know."""

    synthesizer: Synthesizer
    acceptance: Acceptance
    names: dict[str, str]
    store: CallStore
    seed: int
    calls: dict[str, Call] = field(default_factory=dict)
    """By key: equal calls of several seed samples are made once."""
    refused: set[str] = field(default_factory=set)
    finished: int = 0

    def replay(self, sample: Sample) -> None:
        """Run the steps of a seed sample as far as the kept answers lead."""
        steps = self._steps(sample)
        try:
            wanted = next(steps)
            while True:
                several = (wanted,) if isinstance(wanted, Call) else wanted
                completions = [self._kept(call) for call in several]
                if any(completion is None for completion in completions):
                    return
                wanted = steps.send(completions[0] if isinstance(wanted, Call) else completions)
        except StopIteration:
            self.finished += 1

    def _steps(self, sample: Sample) -> Steps:
        outcomes = yield from self.synthesizer.steps(sample, self.synthesizer.random_state(sample, self.seed))
        return (yield from self.acceptance.checked(sample, outcomes))

    def _kept(self, call: Call) -> Completion | None:
        key = call_key(self.names[call.role], call.request)
        response = self.store.lookup(key)
        if response is not None:
            return replace(completion_of(response), cached=True)
        if key in self.refused or any((a.error or "").startswith(REFUSED) for a in self.store.attempts(key)):
            self.refused.add(key)
        else:
            self.calls[key] = call
        return None
