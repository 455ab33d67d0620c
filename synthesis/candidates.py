"""Several answers to one question: sampled, verified by a program, graded by a judge, made into a preference pair."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from curation.language_models.models import ChatRequest, Completion
from curation.sample import Message, Sample
from curation.texts.code_answers import known_tests
from curation.texts.final_answers import expected_answer, explicit_answer, final_answers, same_answer
from synthesis.distill import prompt_turns
from synthesis.elimination import same_text, unusable
from synthesis.reply_parts import scores_of
from synthesis.synthesizer import Call, Outcome

_SURE = re.compile(r"\\(?:boxed|fbox)\{|(?<!#)####(?!#)[^\S\n]*\S")
_SHORT_ANSWER = re.compile(
    r"[(（]?[A-J][)）]?\.?|[^\w\s]{0,3}\s?\d[\d,.]*(?:/\d+)?\s?[%％°]?(?:\s?[^\W\d_]{1,12}){0,2}\.?"
)
"""A letter of a choice, or a number with a unit."""
LOWEST, HIGHEST = 1, 10
"""The scale on which a judge grades answers."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One answer."""

    text: str
    origin: str
    """`answer 2`, `seed`, or the name it has in the metadata."""
    call: Call | None = None
    reasoning: str | None = None
    fault: str | None = None
    """Why it can't be used at all."""
    right: bool | None = None
    """What a program or a label says; null where nothing can be said."""
    finding: str | None = None
    """What was found instead of the right thing."""

    @property
    def turn(self) -> Message:
        """The answer as a turn."""
        return Message("assistant", self.text, reasoning=self.reasoning)


Sampling = Generator[Call | tuple[Call, ...], Any, list[Candidate]]


def sampled(sample: Sample, count: int, parameters: Mapping[str, Any], *, first: int = 0) -> Sampling:
    """Ask for `count` answers at once.

    Args:
        sample: its conversation up to the last answer is the question.
        count: answers.
        parameters: of sampling.
        first: sample index of the first one.
    """
    turns = tuple((m.role, m.content) for m in prompt_turns(sample))
    calls = tuple(
        Call(f"answer {n}", ChatRequest(turns, dict(parameters), sample_index=first + n - 1))
        for n in range(1, count + 1)
    )
    completions: list[Completion] = yield calls
    return [candidate(call, completion) for call, completion in zip(calls, completions, strict=True)]


def candidate(call: Call, completion: Completion) -> Candidate:
    """The answer that came back for a call."""
    text = (completion.text or "").strip()
    fault = unusable(text, completion.finish_reason)
    return Candidate(text, call.step, call, completion.reasoning, fault[0] if fault else None)


def usable(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those that are whole answers, each text once."""
    kept: list[Candidate] = []
    for one in candidates:
        if one.fault is None and not any(same_text(one.text, other.text) for other in kept):
            kept.append(one)
    return kept


def calls_of(candidates: Sequence[Candidate]) -> tuple[Call, ...]:
    """The calls that they came from."""
    return tuple(one.call for one in candidates if one.call is not None)


# -------------------------------------------------------------------- verified by a program


def reference_of(sample: Sample, field: str | None = None, *, own: bool = True) -> str | None:
    """The expected final answer: of the metadata, else what the sample's own answer marks as one.

    In words one can give the same answer in many ways, so that of its own only a number, a letter of a choice, or what
    stands in a box or after `####` counts.
    """
    found = expected_answer(sample.metadata, field)
    if found is not None or field or not own:
        return found
    marked = explicit_answer(sample.response)
    sure = marked is not None and (_SURE.search(sample.response) or _SHORT_ANSWER.fullmatch(marked))
    return marked if sure else None


def agrees(text: str, reference: str) -> tuple[bool, str | None]:
    """Whether the final answer of a text is the reference, and the answer that it ends in."""
    readings = final_answers(text)
    right = next((found for found in readings if same_answer(found, reference)), None)
    return right is not None, right or next(iter(readings), None)


def verifiable(sample: Sample, *, own: bool = True) -> bool:
    """Whether a program can tell right answers from wrong ones: there are tests, or a final answer."""
    return bool(known_tests(sample.metadata)) or reference_of(sample, own=own) is not None


def verified(
    sample: Sample, candidates: Sequence[Candidate], *, seconds: float = 5.0, memory_mb: int = 512
) -> list[Candidate]:
    """The candidates with what their tests or their final answers say; tests come first where there are both."""
    from curation.scorers.code_tests import checked_by_tests

    if not known_tests(sample.metadata):
        reference = reference_of(sample)
        return [_compared(one, reference) if reference and one.fault is None else one for one in candidates]

    def tested(one: Candidate) -> Candidate:
        if one.fault is not None:
            return one
        said = checked_by_tests(sample.instruction, one.text, sample.metadata, None, seconds, memory_mb)
        share, error, reason = said
        return replace(one, right=None if share is None else share == 1, finding=error or reason)

    return in_parallel(tested, candidates)


def in_parallel(work: Callable[[Any], Any], given: Sequence[Any]) -> list[Any]:
    """What `work` makes of each, in order; as many at once as there are cores, since it waits for other processes."""
    with ThreadPoolExecutor(min(len(given) or 1, os.cpu_count() or 1)) as pool:
        return list(pool.map(work, given))


def _compared(one: Candidate, reference: str) -> Candidate:
    right, found = agrees(one.text, reference)
    return replace(one, right=right, finding=found if right or found else "names no final answer")


# -------------------------------------------------------------------- graded by a judge


Grading = Generator[Call | tuple[Call, ...], Any, tuple[list[float] | None, list[Call], list[dict[str, Any]]]]


def graded(
    asked: Callable[[str, str], str],
    question: str,
    candidates: Sequence[Candidate],
    rng: random.Random,
    *,
    judgements: int,
    max_tokens: int,
) -> Grading:
    """Mean score of each candidate, the calls, and what each judgement said; null scores where none could be read.

    A judge favours what it sees first, so each judgement lists all answers in an order of its own.

    Args:
        asked: the prompt for a question and its listed answers.
        question: what the candidates answer.
        candidates: at least two.
        rng: shuffles; equal states, equal orders.
        judgements: how often the judge is asked.
        max_tokens: of one judgement.
    """
    orders = [rng.sample(range(len(candidates)), len(candidates)) for _ in range(judgements)]
    calls = tuple(
        Call(f"grade {n}", _grading(asked(question, _listing(candidates, order)), n, max_tokens), role="judge")
        for n, order in enumerate(orders, 1)
    )
    completions: list[Completion] = yield calls
    told, sums, read = [], [0.0] * len(candidates), 0
    for order, completion in zip(orders, completions, strict=True):
        text = completion.text or ""
        scores = scores_of(text, len(candidates), LOWEST, HIGHEST)
        told.append({"order": [candidates[place].origin for place in order], "scores": scores, "text": text})
        if scores is not None:
            read += 1
            for place, score in zip(order, scores, strict=True):
                sums[place] += score
    means = [round(total / read, 4) for total in sums] if read else None
    return means, list(calls), told


def _grading(text: str, number: int, max_tokens: int) -> ChatRequest:
    return ChatRequest((("user", text),), {"temperature": 0.0, "max_tokens": max_tokens}, sample_index=number - 1)


def _listing(candidates: Sequence[Candidate], order: Sequence[int]) -> str:
    return "\n\n".join(f"#Answer {n}#\n{candidates[place].text}" for n, place in enumerate(order, 1))


def conversation(turns: Sequence[Message]) -> str:
    """Turns as one text for a judge: the plain question where there is but one."""
    if len(turns) == 1:
        return turns[0].content
    return "\n\n".join(f"[{turn.role}]\n{turn.content}" for turn in turns)


# -------------------------------------------------------------------- made into a pair


def preferred(
    sample: Sample,
    chosen: Candidate,
    rejected: Candidate,
    calls: Sequence[Call],
    metadata: dict[str, Any],
    violation: tuple[str, str] | None = None,
) -> Outcome:
    """The preference pair."""
    rule, detail = violation or (None, None)
    if rule is None and same_text(chosen.text, rejected.text):
        rule, detail = "same-answers", "chosen and rejected say the same"
    return Outcome(
        (*prompt_turns(sample), chosen.turn),
        tuple(calls),
        {**metadata, "chosen": chosen.origin, "rejected": rejected.origin},
        rejected=(rejected.turn,),
        rejected_by=rule,
        detail=detail,
    )


def no_pair(
    sample: Sample,
    candidates: Sequence[Candidate],
    calls: Sequence[Call],
    metadata: dict[str, Any],
    rule: str,
    why: str,
) -> Outcome:
    """No pair came of it: the question with the first answer, so that one can read why."""
    first = next((one for one in candidates if one.text), None)
    turns = (*prompt_turns(sample), *((first.turn,) if first else ()))
    return Outcome(turns, tuple(calls), metadata, rejected_by=rule, detail=why)


def right_and_wrong(
    sample: Sample, candidates: Sequence[Candidate], metadata: dict[str, Any], pairs: int
) -> list[Outcome]:
    """Pairs of a right and a wrong answer, each answer in one pair at most; a rejected outcome where there is none."""
    calls = calls_of(candidates)
    whole = usable(candidates)
    right, wrong = ([one for one in whole if one.right is verdict] for verdict in (True, False))
    judged = [one for one in candidates if one.right is not None]
    rate = sum(one.right is True for one in judged) / len(judged) if judged else None
    metadata = {**metadata, "pass_rate": rate, "checked": len(judged)}
    if right and wrong:
        couples = list(zip(right, wrong, strict=False))[:pairs]
        return [
            preferred(sample, good, bad, calls, {**metadata, "wrong_because": bad.finding}) for good, bad in couples
        ]
    rule = "all-right" if right else "all-wrong" if wrong else "nothing-verified"
    why = f"{len(right)} right and {len(wrong)} wrong answers among {len(candidates)}"
    return [no_pair(sample, candidates, calls, metadata, rule, why)]


def best_and_worst(
    sample: Sample,
    candidates: Sequence[Candidate],
    scores: Sequence[float] | None,
    calls: Sequence[Call],
    metadata: dict[str, Any],
    min_gap: float,
) -> Outcome:
    """The pair of the best and the worst answer; rejected where the judge was not understood or sees a tie."""
    if scores is None:
        why = "no score for each answer in what the judge wrote"
        return no_pair(sample, candidates, calls, metadata, "unreadable-scores", why)
    best, worst = scores.index(max(scores)), scores.index(min(scores))
    gap = scores[best] - scores[worst]
    metadata = {**metadata, "scores": {one.origin: score for one, score in zip(candidates, scores, strict=True)}}
    if gap == 0 or gap < min_gap:
        why = f"best {scores[best]:g}, worst {scores[worst]:g}"
        return no_pair(sample, candidates, calls, metadata, "tie", why)
    about = {**metadata, "chosen_score": scores[best], "rejected_score": scores[worst]}
    return preferred(sample, candidates[best], candidates[worst], calls, about)
