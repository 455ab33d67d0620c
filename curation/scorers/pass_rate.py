"""How often a model gets an instruction right: its difficulty for that model."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, PrivateAttr

from curation.operators import NOT_YET, Scorer

if TYPE_CHECKING:
    import polars as pl

    from curation.language_models.models import ChatRequest, Completion

NO_QUESTION = "there is no question to ask"
MOST_RAW_CHARS = 20_000


class PassRate(Scorer):
    """How often a chat model answers the instruction right, as a program checks it: 0 is too hard, 1 is known.

    The model is asked `samples` times, with the turns before the last answer. What it thinks before it answers is not
    part of the answer. Keep what it can do sometimes with a band over this column (above 0, below 1). The model to ask
    is the one that is to be trained.

    Source: difficulty by the rate of right answers among samples of the model itself, as Yuan et al. 2023 (rejection
        sampling, arXiv 2308.01825), Tong et al. 2024 (DART-Math, arXiv 2407.13690) and Yu et al. 2025 (DAPO, arXiv
        2503.14476, dynamic sampling: those with rate 0 and 1 teach nothing) use it.

    Columns:
        pass_rate (DOUBLE): right ones of the answers that could be checked, 0..1; null, with the reason, where none,
            and where a call failed: the next run asks for what is missing.
        pass_rate_answers (BIGINT): answers that could be checked. One that is empty, names no final answer, or holds no
            code, is wrong; code that can't be run here does not count.
        pass_rate_raw (VARCHAR): the answers, one after the other (the first 20,000 characters).

    Differs from the source: no training in between; rate only.
    """

    name: ClassVar[str] = "pass-rate"
    batch_rows: ClassVar[int] = 256

    model: str = Field(min_length=1, description="Chat model that answers, such as http://HOST/v1#MODEL")
    check: Literal["final-answer", "code-tests", "constraints"] = Field(
        "final-answer", description="How an answer is checked: reference in the metadata (or marked in the sample's "
        "own response), tests in the metadata, or constraints that the instruction sets"
    )  # fmt: skip
    samples: int = Field(4, ge=1, le=64, description="Answers to each instruction")
    reference: str | None = Field(
        None, description="Metadata field with the answer or the tests (a.b leads inwards); the usual names if empty"
    )
    temperature: float = Field(1.0, ge=0, le=2, description="Sampling temperature; with 0 all answers are alike")
    top_p: float | None = Field(None, gt=0, le=1, description="Nucleus sampling: share of likely tokens to draw from")
    max_tokens: int = Field(2048, ge=1, description="Tokens of one answer at most, thinking included")
    seconds: float = Field(10.0, gt=0, le=600, description="Seconds that the code of one answer may run")
    memory_mb: int = Field(512, ge=64, description="Megabytes of memory that it may have")
    concurrency: int = Field(16, ge=1, description="Requests in flight at most")

    _calls: Path | None = PrivateAttr(None)

    @property
    def needs(self) -> tuple[str, ...]:
        return "instruction", "messages", "response", "metadata"

    @property
    def columns(self) -> dict[str, str]:
        return {"pass_rate": "DOUBLE", "pass_rate_answers": "BIGINT", "pass_rate_raw": "VARCHAR"}

    def in_corpus(self, folder: Path) -> Self:
        """This scorer, which now keeps every call in the corpus."""
        mine = self.model_copy()
        mine._calls = folder / "calls.sqlite"
        return mine

    def score(self, batch: pl.DataFrame) -> pl.DataFrame:
        import polars as pl

        from curation.language_models.asking import answers

        samples = [_Asked(row) for row in batch.select(self.needs).iter_rows(named=True)]
        unasked = [self._unfit(sample) for sample in samples]
        places = [i for i, reason in enumerate(unasked) if reason is None]
        requests = [self._request(samples[i], number) for i in places for number in range(self.samples)]
        run = f"pass-rate-{hashlib.sha256(self.spec_json().encode()).hexdigest()[:12]}"
        replies = answers(self.model, requests, calls=self._calls, run=run, concurrency=self.concurrency)
        verdicts = self._verdicts([samples[i] for i in places for _ in range(self.samples)], replies)
        rows: list[tuple[Any, ...]] = [(None, 0, None, reason) for reason in unasked]
        for number, place in enumerate(places):
            mine = slice(number * self.samples, (number + 1) * self.samples)
            rows[place] = _row(replies[mine], verdicts[mine])
        schema = {
            "pass_rate": pl.Float64,
            "pass_rate_answers": pl.Int64,
            "pass_rate_raw": pl.String,
            "reason": pl.String,
        }
        return pl.DataFrame(rows, schema=schema, orient="row")

    def _unfit(self, sample: _Asked) -> str | None:
        """Why the model need not be asked: its answers could not be checked."""
        if not sample.turns:
            return NO_QUESTION
        if self.check == "constraints":
            from curation.scorers.constraints import NONE_SET, kept_share

            return None if kept_share(sample.last, "")[1] else NONE_SET
        if self.check == "code-tests":
            from curation.scorers.code_tests import NO_TESTS
            from curation.texts.code_answers import known_tests

            return None if known_tests(sample.metadata, self.reference) else NO_TESTS
        return None if self._expected(sample) else "neither the metadata nor the response hold a reference answer"

    def _expected(self, sample: _Asked) -> str | None:
        from curation.texts.final_answers import expected_answer, explicit_answer

        known = expected_answer(sample.metadata, self.reference)
        return known or (None if self.reference else explicit_answer(sample.response))

    def _request(self, sample: _Asked, number: int) -> ChatRequest:
        from curation.language_models.models import ChatRequest

        parameters = {"temperature": self.temperature, "top_p": self.top_p, "max_tokens": self.max_tokens}
        return ChatRequest(sample.turns, parameters, sample_index=number)

    def _verdicts(self, samples: list[_Asked], replies: list[Completion]) -> list[tuple[bool | None, str]]:
        """(whether the answer is right, why that can't be said) for each reply."""
        import os
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(os.cpu_count() or 1 if self.check == "code-tests" else 1) as pool:
            return list(pool.map(self._verdict, samples, replies))

    def _verdict(self, sample: _Asked, reply: Completion) -> tuple[bool | None, str]:
        if reply.error is not None or reply.text is None:
            from curation.language_models.asking import why_failed

            return None, why_failed([reply]) or "no answer came"
        if not reply.text.strip():
            return False, ""  # say, it thought until it was cut off
        if self.check == "constraints":
            from curation.scorers.constraints import kept_share

            return kept_share(sample.last, reply.text)[0] == 1, ""
        if self.check == "code-tests":
            return self._by_tests(sample, reply.text)
        from curation.texts.final_answers import final_answers, same_answer

        expected = self._expected(sample)
        return expected is not None and any(same_answer(found, expected) for found in final_answers(reply.text)), ""

    def _by_tests(self, sample: _Asked, text: str) -> tuple[bool | None, str]:
        from curation.scorers.code_tests import checked_by_tests

        share, error, reason = checked_by_tests(
            sample.last, text, sample.metadata, self.reference, self.seconds, self.memory_mb
        )
        if share is None:  # no code is a wrong answer; code that can't be run here says nothing
            return (None, reason or "") if error else (False, "")
        return share == 1, ""


class _Asked:
    """One sample, as the model is asked about it."""

    def __init__(self, row: dict[str, Any]) -> None:
        turns = [(turn["role"], turn["content"] or "") for turn in row["messages"] or ()]
        if not turns and (row["instruction"] or "").strip():
            turns = [("user", row["instruction"])]
        last = max((i for i, (role, text) in enumerate(turns) if role == "user" and text.strip()), default=-1)
        self.turns = tuple(turns[: last + 1])
        self.last = turns[last][1] if last >= 0 else ""
        self.response: str = row["response"] or ""
        self.metadata: dict[str, Any] = json.loads(row["metadata"] or "{}")  # exact for large integers


def _row(
    replies: list[Completion], verdicts: list[tuple[bool | None, str]]
) -> tuple[float | None, int, str | None, str | None]:
    checked = [right for right, _ in verdicts if right is not None]
    raw = "\n---\n".join(reply.text for reply in replies if reply.text)[:MOST_RAW_CHARS] or None
    if failed := next((reason for _, reason in verdicts if reason.startswith(NOT_YET)), None):
        return None, len(checked), raw, failed
    if not checked:
        return None, 0, raw, next((reason for _, reason in verdicts if reason), None)
    return sum(checked) / len(checked), len(checked), raw, None
