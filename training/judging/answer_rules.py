"""Rules by which an answer is a bad one. Each says why, or null and the reason why it can't tell; none guesses.

Covers: English and Chinese refusals and constraints (see `curation.texts`), loops in any language, languages told by
fastText's identifier. Does not cover: answers that are wrong in what they say and have no reference, test or judge.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from training.judging.answers import Answer

RULES = {
    "wrong-answer": "the final answer differs from the reference, or a test fails",
    "format": "the instruction asks for a form, such as JSON, a list or one word, and the answer does not keep to it",
    "repetition": "the answer goes round in circles",
    "refusal": "the answer refuses, and the reference does not",
    "truncated": "the answer was cut at the most tokens allowed",
    "empty": "there is no answer",
    "wrong-language": "the answer is in another language than the question",
    "hallucinated": "a judge found a claim that the reference or the question contradicts",
}
"""Rule -> what it means."""
UNITS = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_]+")
"""Words; Chinese, Japanese and Korean characters one by one."""
GRAM = 4
LOOPED_SHARE = 0.5
"""Of the 4-grams that came before: prose has a tenth of that."""
FEWEST_UNITS = 12
MOST_CHARS = 4_000
"""At the end of an answer, in which a stammer is looked for."""
TAIL = 240
"""Words at the end of an answer in which a loop is looked for."""
LOOPS = 3
"""So often the end of an answer must be the same passage."""
SYLLABLES = re.compile(r"([^\W_]{1,8}?)\1{11,}")
"""A word that stammers: a dozen times the same letters without a space; rules of dashes are none."""
REFUSAL_CHARS = 300
"""Where a refusal stands: at the beginning."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule says of an answer."""

    rule: str
    broken: bool | None
    """null: it can't tell."""
    why: str


def findings(answers: Sequence[Answer], scores: Mapping[tuple[str, str], Mapping[str, Any]]) -> list[list[Finding]]:
    """For each answer what every rule says that applies to it; hallucinations are a judge's business.

    Args:
        answers: of one model or several.
        scores: (prompt id, model) -> columns of `answer_scores.jsonl`.
    """
    languages = _languages(answers)
    found = []
    for answer, language in zip(answers, languages, strict=True):
        if not answer.answer.strip():
            found.append([Finding("empty", True, "no character was written")])
            continue
        checked = [_verified(scores.get((answer.id, answer.model))), _format(answer), _repetition(answer)]
        found.append([*checked, _refusal(answer), _truncated(answer), Finding("empty", False, ""), language])
    return found


def looping(text: str) -> str | None:
    """How a text repeats itself; null where it does not."""
    stammer = SYLLABLES.search(text[-MOST_CHARS:])
    if stammer:
        return f"it stammers “{stammer[1]}”"
    units = [unit.casefold() for unit in UNITS.findall(text)]
    if len(units) < FEWEST_UNITS:
        return None
    tail = units[-TAIL:]
    for period in range(1, len(tail) // LOOPS + 1):
        times = _times_at_end(tail, period)
        if times >= LOOPS and times * period >= FEWEST_UNITS:
            return f"its end says the same {period} words {times} times"
    grams = [tuple(units[i : i + GRAM]) for i in range(len(units) - GRAM + 1)]
    share = 1 - len(set(grams)) / len(grams)
    return f"{share:.0%} of its {GRAM}-word passages came before" if share >= LOOPED_SHARE else None


def _times_at_end(units: Sequence[str], period: int) -> int:
    # What a cut leaves of the last round is passed over.
    best = 0
    for cut in range(min(period, len(units))):
        end = len(units) - cut
        block, times = units[max(0, end - period) : end], 1
        while end - (times + 1) * period >= 0 and units[end - (times + 1) * period : end - times * period] == block:
            times += 1
        best = max(best, times)
    return best


def _verified(scores: Mapping[str, Any] | None) -> Finding:
    scores = scores or {}
    final, tests = scores.get("final_answer"), scores.get("code_tests")
    if final is False:
        said, expected = scores.get("final_answer_found"), scores.get("final_answer_expected")
        if said is None:
            why = str(scores.get("final_answer_reason") or "there is no final answer")
            return Finding("wrong-answer", True, f"{why}; expected: {expected}")
        return Finding("wrong-answer", True, f"the answer ends in {said}; expected: {expected}")
    if tests is not None and tests < 1:
        error = scores.get("code_tests_error")
        return Finding("wrong-answer", True, f"passes {tests:.0%} of the tests{f': {error}' if error else ''}")
    if final is None and tests is None:
        reason = scores.get("final_answer_reason") or scores.get("code_tests_reason") or "nothing to verify it by"
        return Finding("wrong-answer", None, str(reason))
    return Finding("wrong-answer", False, "")


def _format(answer: Answer) -> Finding:
    from curation.texts.instruction_constraints import constraints_in

    asked = constraints_in(answer.question)
    if not asked:
        return Finding("format", None, "the instruction sets no form that can be read")
    # A reference that breaks a constraint too says that it was misread.
    broken = [c for c in asked if not c.kept(answer.answer) and (answer.reference is None or c.kept(answer.reference))]
    return Finding("format", bool(broken), f"asked for: {', '.join(c.name for c in broken)}" if broken else "")


def _repetition(answer: Answer) -> Finding:
    loop = looping(answer.answer)
    if loop and answer.reference and looping(answer.reference):
        return Finding("repetition", False, "")
    return Finding("repetition", loop is not None, loop or "")


def _refusal(answer: Answer) -> Finding:
    from curation.texts.phrases import REFUSAL

    said = re.search(REFUSAL, answer.answer[:REFUSAL_CHARS])
    if said is None or (answer.reference and re.search(REFUSAL, answer.reference[:REFUSAL_CHARS])):
        return Finding("refusal", False, "")
    return Finding("refusal", True, f"“{' '.join(said.group().split())}”")


def _truncated(answer: Answer) -> Finding:
    cut = answer.finish_reason == "length"
    return Finding("truncated", cut, f"cut after {answer.tokens:,} tokens" if cut else "")


def _languages(answers: Sequence[Answer]) -> list[Finding]:
    import polars as pl

    from curation.scorers.language import Language

    if not answers:
        return []
    texts = {"instruction": [a.question for a in answers], "response": [a.answer for a in answers]}
    return [_language(row) for row in Language().score(pl.DataFrame(texts)).iter_rows(named=True)]


def _language(row: Mapping[str, Any]) -> Finding:
    differs = row["language_mismatch"]
    if differs is None:
        return Finding("wrong-language", None, str(row["reason"] or "the question is too short to tell its language"))
    why = f"asked in {row['instruction_language'] or 'another script'}, answered in {row['language'] or 'another'}"
    return Finding("wrong-language", bool(differs), why if differs else "")
