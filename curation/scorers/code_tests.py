"""Whether the code of an answer passes the tests that came with the sample."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from curation.operators import NOT_RUN, Scorer

if TYPE_CHECKING:
    import polars as pl

NO_TESTS = "the metadata hold no tests"


class CodeTests(Scorer):
    """Runs the Python code of the answer against the tests in the metadata, in a locked-down process.

    What the process may do, and what holds it, stands in `curation.texts.code_running`: no network, no other processes,
    no files but its own, an empty environment, limits on time and memory.

    Source: pass@1 of Chen et al. 2021, HumanEval (arXiv 2107.03374), and the lists of asserts of Austin et al. 2021,
        MBPP (arXiv 2108.07732).

    Columns:
        code_tests (DOUBLE): share of the tests that went through, 0..1; a field that is one source is one test. null,
            with the reason, where there are no tests or no Python code, or where the code needs a module that is not
            here or something that is not allowed.
        code_tests_error (VARCHAR): what went wrong: its kind (wrong, error, syntax, exit, timeout, memory, tampered,
            crashed, missing, denied), the exception and the line; null where all went through.

    Differs from the source: a verdict can't be had by printing or by leaving early; code that searches the interpreter
        for the judge still can claim one.
    """

    name: ClassVar[str] = "code-tests"
    needs: ClassVar[tuple[str, ...]] = ("instruction", "response", "metadata")
    batch_rows: ClassVar[int] = 512

    tests: str | None = Field(
        None, description="Metadata field with the tests (a.b leads inwards); the usual names if empty"
    )
    seconds: float = Field(10.0, gt=0, le=600, description="Seconds that the code of one sample may run")
    memory_mb: int = Field(512, ge=64, description="Megabytes of memory that it may have")
    parallel: int = Field(0, ge=0, le=256, description="Programs at the same time; 0: one per core")

    @property
    def columns(self) -> dict[str, str]:
        return {"code_tests": "DOUBLE", "code_tests_error": "VARCHAR"}

    def score(self, batch: pl.DataFrame) -> pl.DataFrame:
        import os
        from concurrent.futures import ThreadPoolExecutor

        import polars as pl

        rows = batch.select(pl.col("instruction", "response").fill_null(""), "metadata").iter_rows()
        with ThreadPoolExecutor(self.parallel or os.cpu_count() or 1) as pool:
            found = list(pool.map(lambda row: self._row(*row), rows))
        schema = {"code_tests": pl.Float64, "code_tests_error": pl.String, "reason": pl.String}
        return pl.DataFrame(found, schema=schema, orient="row")

    def _row(
        self, instruction: str, response: str, metadata: str | None
    ) -> tuple[float | None, str | None, str | None]:
        known = json.loads(metadata or "{}")
        return checked_by_tests(instruction, response, known, self.tests, self.seconds, self.memory_mb)


def checked_by_tests(
    instruction: str, response: str, metadata: dict[str, Any], field: str | None, seconds: float, memory_mb: int
) -> tuple[float | None, str | None, str | None]:
    """(share of the tests that went through, what went wrong, why nothing could be said) for one answer."""
    from curation.texts.code_answers import entry_point_of, known_tests, program_of
    from curation.texts.code_running import NOT_STARTED, UNDECIDED, run_code

    tests = known_tests(metadata, field)
    if not tests:
        return None, None, f"no field {field!r} with Python tests in the metadata" if field else NO_TESTS
    program = program_of(instruction, response, entry_point_of(metadata))
    if program.source is None:
        return None, None, program.reason
    outcome = run_code(program.source, tests, seconds=seconds, memory_mb=memory_mb)
    error = None if outcome.passed else f"{outcome.error_kind}: {outcome.detail}"
    if outcome.error_kind == NOT_STARTED:
        return None, error, f"{NOT_RUN}{outcome.detail}"[:300]
    if outcome.error_kind in UNDECIDED:
        return None, error, f"the code could not be run here: {outcome.detail.partition(' (')[0]}"
    return outcome.share, error, None
