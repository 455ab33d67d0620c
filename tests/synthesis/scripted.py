"""Run a synthesizer's steps by hand, with the completions given in the test."""

from __future__ import annotations

from curation.language_models.models import Completion
from curation.sample import Sample
from synthesis.synthesizer import Call, Outcome, Steps, Synthesizer


def played(synthesizer: Synthesizer, sample: Sample, *replies: str | Completion) -> tuple[list[Outcome], list[Call]]:
    """The outcomes and the calls made; exactly the given replies must be asked for, in the order of the calls."""
    return driven(synthesizer.steps(sample, synthesizer.random_state(sample, 0)), *replies)


def driven(steps: Steps, *replies: str | Completion) -> tuple[list[Outcome], list[Call]]:
    """The same for steps that have begun already; calls that are made at once take as many replies."""
    left, calls = [Completion(r, finish_reason="stop") if isinstance(r, str) else r for r in replies], []
    try:
        asked = next(steps)
        while True:
            several = (asked,) if isinstance(asked, Call) else asked
            calls += several
            assert len(left) >= len(several), f"asks for more calls than there are replies: {several[-1].step}"
            given, left = left[: len(several)], left[len(several) :]
            asked = steps.send(given[0] if isinstance(asked, Call) else given)
    except StopIteration as end:
        assert not left, "asked for fewer calls than there are replies"
        return end.value, calls
