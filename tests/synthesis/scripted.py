"""Run a synthesizer's steps by hand, with the completions given in the test."""

from __future__ import annotations

from curation.language_models.models import Completion
from curation.sample import Sample
from synthesis.synthesizer import Call, Outcome, Synthesizer


def played(synthesizer: Synthesizer, sample: Sample, *replies: str | Completion) -> tuple[list[Outcome], list[Call]]:
    """The outcomes and the calls made; exactly the given replies must be asked for."""
    steps = synthesizer.steps(sample, synthesizer.random_state(sample, 0))
    calls = [next(steps)]
    try:
        for reply in replies:
            completion = Completion(reply, finish_reason="stop") if isinstance(reply, str) else reply
            calls.append(steps.send(completion))
    except StopIteration as end:
        assert len(calls) == len(replies), "asked for fewer calls than there are replies"
        return end.value, calls
    raise AssertionError(f"asks for one call more: {calls[-1].step}")
