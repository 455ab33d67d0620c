"""The most that a run can take, found without asking anybody: its steps are replayed with made-up answers.

Answers of several kinds are tried (prose, lists, JSON, code, praise and blame by the judge), and of each seed sample
the replay that takes most counts. Each prompt is counted by its bytes, each answer as long as it may be, also where a
later prompt holds it.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from curation.errors import WinnowError
from curation.language_models.budget import Spending, most_input_tokens
from curation.language_models.models import Completion
from curation.language_models.prices import Price
from curation.sample import Sample
from synthesis.acceptance import Acceptance
from synthesis.drawing import Samples, draw
from synthesis.synthesizer import Call, Steps, Synthesizer

REPLAYED = 100
"""Seed samples that are replayed; of a run on more of them these stand for all."""
REPLAY_SECONDS = 3.0
"""After so long fewer have to do: some synthesizers run the code that they were answered."""
MOST_CALLS = 1_000
"""Of one seed sample; a replay that asks for more is cut off there."""

_MARK = re.compile(r"placeholder-(\d+)\b")


@dataclass(frozen=True)
class UpperBound:
    """What a run takes at most, if every call is answered at the first attempt."""

    seeds: int
    calls: int
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    """null = some price is not known."""
    calls_by_step: dict[str, int] = field(default_factory=dict)
    replayed: int = 0
    """Seed samples that were replayed; where these are fewer than `seeds` their mean stands for the others."""


@dataclass
class _Taken:
    """What a replay of one seed sample took."""

    steps: Counter[str] = field(default_factory=Counter)
    roles: set[str] = field(default_factory=set)
    sent: int = 0
    received: int = 0
    cost_usd: float = 0.0


Answering = Callable[[int], str]
"""An answer of some kind, marked with its number."""


def upper_bound(
    corpus: Samples,
    synthesizer: Synthesizer,
    model_spec: str,
    *,
    judge_spec: str | None = None,
    acceptance: Acceptance | None = None,
    where: str | None = None,
    limit: int | None = None,
    seed: int = 0,
    free: bool = False,
    replayed: int = REPLAYED,
    replay_seconds: float = REPLAY_SECONDS,
) -> UpperBound:
    """The most that `synthesize` with the same arguments can take; nothing is sent.

    Args:
        corpus: as for `synthesize`, and so are those that are not listed here.
        synthesizer: what to do with a seed sample.
        model_spec: who answers.
        judge_spec: who judges.
        acceptance: what an outcome must be like.
        where: a SQL condition for seed samples.
        limit: seed samples of the run at most.
        seed: random seed.
        free: models on this machine cost nothing.
        replayed: seed samples that are replayed at most.
        replay_seconds: after so long fewer have to do.

    Raises:
        CorpusError: no seed sample meets the condition.
    """
    synthesizer = synthesizer.with_prompts(corpus.path / "prompts")
    acceptance = acceptance or Acceptance()
    # What the other rules reject never reaches the judge, so they only make it less.
    judging = Acceptance(min_score=acceptance.min_score, judge_max_tokens=acceptance.judge_max_tokens)
    judging = judging.with_prompts(corpus.path / "prompts")
    spending = Spending.on_prices_of(corpus.path, free=free)
    prices = {"model": spending.price_of(model_spec), "judge": spending.price_of(judge_spec or model_spec)}
    seeds = draw(corpus, synthesizer, where, limit, seed)
    replay = _Replay(synthesizer.among(seeds, []), judging, seed, prices)
    most = list(replay.all(seeds[:replayed], replay_seconds))
    share = len(seeds) / len(most)
    steps = sum((taken.steps for taken in most), Counter())
    known = all(prices[role] is not None for taken in most for role in taken.roles)
    return UpperBound(
        seeds=len(seeds),
        calls=round(steps.total() * share),
        input_tokens=round(sum(taken.sent for taken in most) * share),
        output_tokens=round(sum(taken.received for taken in most) * share),
        cost_usd=sum(taken.cost_usd for taken in most) * share if known else None,
        calls_by_step={step: round(n * share) for step, n in steps.items()},
        replayed=len(most),
    )


@dataclass(frozen=True)
class _Replay:
    synthesizer: Synthesizer
    acceptance: Acceptance
    seed: int
    prices: Mapping[str, Price | None]

    def all(self, seeds: Sequence[Sample], seconds: float) -> Iterator[_Taken]:
        """What each seed sample takes at most, until it has taken too long."""
        until = time.monotonic() + seconds
        for place, sample in enumerate(seeds):
            if place and time.monotonic() > until:
                return
            yield self.most(sample)

    def most(self, sample: Sample) -> _Taken:
        """Of the replays with every kind of answers the one that takes most."""
        found = [self._played(sample, answer, judged) for answer in ANSWERS for judged in VERDICTS]
        return max(found, key=lambda taken: (taken.cost_usd, taken.received, taken.sent))

    def _steps(self, sample: Sample) -> Steps:
        outcomes = yield from self.synthesizer.steps(sample, self.synthesizer.random_state(sample, self.seed))
        return (yield from self.acceptance.checked(sample, outcomes))

    def _played(self, sample: Sample, answer: Answering, verdict: Answering) -> _Taken:
        taken, lengths = _Taken(), list[int]()
        steps = self._steps(sample)
        try:
            asked = next(steps)
            while len(lengths) < MOST_CALLS:
                completions = []
                for call in (asked,) if isinstance(asked, Call) else asked:
                    self._take(call, taken, lengths)
                    text = (verdict if call.role == "judge" else answer)(len(lengths) - 1)
                    completions.append(Completion(text, finish_reason="stop"))
                asked = steps.send(completions[0] if isinstance(asked, Call) else completions)
        except (StopIteration, WinnowError):
            pass  # what was asked until then counts
        return taken

    def _take(self, call: Call, taken: _Taken, lengths: list[int]) -> None:
        request = call.request
        texts = [request.prompt or "", *(content for _, content in request.messages)]
        held = {int(number) for text in texts for number in _MARK.findall(text)}
        sent = most_input_tokens(request) + sum(lengths[number] for number in held if number < len(lengths))
        longest = request.parameters.get("max_completion_tokens") or request.parameters.get("max_tokens")
        lengths.append(int(longest or 0) * int(request.parameters.get("n") or 1))
        taken.steps[call.step] += 1
        taken.roles.add(call.role)
        taken.sent += sent
        taken.received += lengths[-1]
        if price := self.prices[call.role]:
            taken.cost_usd += price.of_tokens(sent, lengths[-1])


def _prose(n: int) -> str:
    return (
        f"This is placeholder-{n}, which stands for an answer of several sentences. It explains one step after "
        "another, compares two of them with numbers, and ends with a conclusion. Let X be unknown. The answer is 42."
    )


def _listed(n: int) -> str:
    # Few words in common, so that no line is too much like another.
    return "\n".join(f"{i}. What{i} joins{i} placeholder-{n} to{i} others{i} there{i}?" for i in range(1, 31))


def _json(n: int) -> str:
    texts = ("instruction", "question", "answer", "response", "output", "text", "title", "persona", "topic", "critique")
    found = {name: f"The {name} of placeholder-{n}, in a whole sentence." for name in texts}
    return json.dumps(
        {**found, "score": 8, "verdict": "yes", "items": [f"placeholder-{n}, entry {i}" for i in range(9)]}
    )


def _code(n: int) -> str:
    return (
        f"Question: what does placeholder-{n} return?\nAnswer: it returns its number.\n\n"
        f'```python\ndef solve(x):\n    """placeholder-{n}"""\n    return x\n\n\nassert solve(1) == 1\n```\n'
        "The final answer is \\boxed{42}."
    )


def _asserts(n: int) -> str:
    return f'```python\nassert solve("placeholder-{n}") == {n}\nassert solve("other") == 0\n```'


def _pairs(n: int) -> str:
    pairs = ({"question": f"What is fact {i} of placeholder-{n}?", "answer": f"It is fact {i}."} for i in range(60))
    return json.dumps(list(pairs))


def _praise(n: int) -> str:
    return f"Not Equal. Verdict: yes. Score: 10. Rating: [[A]]. placeholder-{n} passes."


def _blame(n: int) -> str:
    return f"Equal. Verdict: no. Score: 1. Rating: [[B]]. placeholder-{n} fails."


ANSWERS: tuple[Answering, ...] = (_prose, _listed, _json, _code, _asserts, _pairs)
VERDICTS: tuple[Answering, ...] = (_praise, _blame, _json)
