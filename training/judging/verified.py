"""Answers that a program can check: the final answer of a problem, code against its tests; and how near to a reference.

What each answer was found to be is a line of `RUN/answer_scores.jsonl`; what nothing can be said of is null, and says
why. A problem counts as one where its metadata holds the expected answer, or its reference marks one (`####`, a box,
"the answer is"). An answer that names no final answer, or holds no code, is wrong: the model was asked for one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation.intervals import wilson
from training.judging import references
from training.judging.answers import MODELS, Answer, replace_lines
from training.judging.comparison import Difference, difference

FILE = "answer_scores.jsonl"
CODE_SECONDS, CODE_MEMORY_MB = 10.0, 512
NO_EXPECTED = "no expected answer is known"
NO_FINAL = "the answer names no final answer"
NO_CODE = "the answer holds no code that can be run"
NO_RUNNER = "no program could be run here"
MOST_PROGRAMS = 4
"""Run at the same time."""


@dataclass(frozen=True)
class Share:
    """How many answers of one model are right."""

    model: str
    answers: int
    """That could be checked."""
    right: int
    share: float
    low: float
    """Wilson, 95 %."""
    high: float


@dataclass(frozen=True)
class Verified:
    """One way of checking."""

    check: str
    """final_answer or code_tests."""
    shares: list[Share]
    gained: Difference | None
    """Share of the trained model minus that of the base, paired over prompts; null where there are no such pairs."""
    over_random: Difference | None
    unchecked: dict[str, int]
    """Reason -> answers of the trained model of which nothing can be said."""
    reason: str | None
    """Why there are no shares."""


def score(answers: Sequence[Answer], metadata: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What each answer was found to be, in the order of the answers.

    Args:
        answers: of all models.
        metadata: prompt id -> where its expected answer, its tests may be.
    """
    rows: list[dict[str, Any]] = [{"id": a.id, "model": a.model, "weights": a.weights} for a in answers]
    with ThreadPoolExecutor(MOST_PROGRAMS) as pool:
        codes = list(pool.map(lambda a: code_tests(a, metadata.get(a.id, {})), answers))
    _without_a_runner(codes)
    for row, answer, code in zip(rows, answers, codes, strict=True):
        row |= final_answer(answer, metadata.get(answer.id, {})) | code
    _add_references(rows, answers)
    return rows


def final_answer(answer: Answer, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Whether its final answer is the expected one."""
    from curation.texts.final_answers import expected_answer, explicit_answer, final_answers, same_answer

    expected = expected_answer(metadata) or explicit_answer(answer.reference or "")
    right: bool | None = None
    found: str | None = None
    reason: str | None = NO_EXPECTED
    if expected is not None:
        readings = final_answers(answer.answer)
        fitting = next((reading for reading in readings if same_answer(reading, expected)), None)
        right, found = fitting is not None, fitting or next(iter(readings), None)
        reason = None if readings else NO_FINAL
    return {
        "final_answer": right,
        "final_answer_found": found,
        "final_answer_expected": expected,
        "final_answer_reason": reason,
    }


def code_tests(answer: Answer, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Share of the tests that its code passes, run in a locked-down process."""
    from curation.scorers.code_tests import NO_TESTS, checked_by_tests
    from curation.texts.code_answers import entry_point_of, known_tests, program_of

    share: float | None = None
    error: str | None = None
    reason: str | None = NO_TESTS
    if known_tests(metadata):
        program = program_of(answer.question, answer.answer, entry_point_of(metadata))
        share, error, reason = checked_by_tests(
            answer.question, answer.answer, dict(metadata), None, CODE_SECONDS, CODE_MEMORY_MB
        )
        if program.source is None:
            share, reason = 0.0, NO_CODE
    return {"code_tests": share, "code_tests_error": error, "code_tests_reason": reason}


def _without_a_runner(codes: Sequence[dict[str, Any]]) -> None:
    """Where no program could be run an answer without one is null too, or only the wrong ones would count."""
    from curation.scorers.code_tests import NO_TESTS

    tried = [code for code in codes if code["code_tests_reason"] not in (NO_CODE, NO_TESTS)]
    if tried and all(code["code_tests"] is None for code in tried):
        for code in codes:
            if code["code_tests_reason"] == NO_CODE:
                code |= {"code_tests": None, "code_tests_reason": NO_RUNNER}


def _add_references(rows: Sequence[dict[str, Any]], answers: Sequence[Answer]) -> None:
    with_reference = [i for i, answer in enumerate(answers) if answer.reference]
    ready = references.installed()
    for row in rows:
        row |= dict.fromkeys((*references.ROUGES, "bleu"))
        row["references_reason"] = references.NO_REFERENCE if ready else references.NOT_INSTALLED
    if not ready or not with_reference:
        return
    texts = [answers[i].answer for i in with_reference]
    wanted = [str(answers[i].reference) for i in with_reference]
    scored = zip(with_reference, references.rouge(texts, wanted), references.sentence_bleu(texts, wanted), strict=True)
    for i, rouges, bleu in scored:
        rows[i] |= {**rouges, "bleu": bleu, "references_reason": None}


def final_answers_of(rows: Sequence[Mapping[str, Any]]) -> Verified:
    """How many final answers are right."""
    return _verified("final_answer", rows, lambda row: row["final_answer"])


def code_tests_of(rows: Sequence[Mapping[str, Any]]) -> Verified:
    """How many programs pass all of their tests."""
    return _verified("code_tests", rows, lambda row: None if row["code_tests"] is None else row["code_tests"] == 1.0)


def _verified(
    check: str, rows: Sequence[Mapping[str, Any]], right: Callable[[Mapping[str, Any]], bool | None]
) -> Verified:
    by_model: dict[str, dict[str, bool]] = {model: {} for model in MODELS}
    unchecked: dict[str, int] = {}
    for row in rows:
        verdict = right(row)
        if verdict is not None:
            by_model[row["model"]][row["id"]] = verdict
        elif row["model"] == "trained":
            why = str(row[f"{check}_reason"])
            unchecked[why] = unchecked.get(why, 0) + 1
    shares = [_share(model, list(found.values())) for model, found in by_model.items() if found]
    return Verified(
        check,
        shares,
        _gained(by_model["trained"], by_model["base"]),
        _gained(by_model["trained"], by_model["random"]),
        unchecked,
        None if shares else max(unchecked, key=lambda why: unchecked[why], default="nothing was answered"),
    )


def _share(model: str, verdicts: Sequence[bool]) -> Share:
    right = sum(verdicts)
    return Share(model, len(verdicts), right, right / len(verdicts), *wilson(right, len(verdicts)))


def _gained(trained: Mapping[str, bool], other: Mapping[str, bool]) -> Difference | None:
    import numpy as np

    both = [i for i in trained if i in other]
    if not both:
        return None
    return difference(np.array([float(trained[i]) - float(other[i]) for i in both]), np.ones(len(both)))


def references_of(
    rows: Sequence[Mapping[str, Any]], answers: Sequence[Answer]
) -> tuple[list[references.References], str | None]:
    """ROUGE and BLEU of each model, and why there are none."""
    result = []
    for model in MODELS:
        at = [i for i, row in enumerate(rows) if row["model"] == model and row["rouge1"] is not None]
        if at:
            texts, wanted = [answers[i].answer for i in at], [str(answers[i].reference) for i in at]
            result.append(references.summary(model, [dict(rows[i]) for i in at], texts, wanted))
    why = next((str(row["references_reason"]) for row in rows), "nothing was answered")
    return result, None if result else why


def keep_scores(run_dir: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Replace the run's file of scores."""
    replace_lines(run_dir / FILE, rows)


def read_scores(run_dir: Path | str) -> dict[tuple[str, str], dict[str, Any]]:
    """(prompt id, model) -> what its answer was found to be."""
    path = Path(run_dir) / FILE
    if not path.is_file():
        return {}
    rows = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    return {(row["id"], row["model"]): row for row in rows}
