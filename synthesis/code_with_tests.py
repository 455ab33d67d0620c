"""Code problems with tests: what passes is kept, and how often code passed is said."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import Field

from curation.language_models.models import ChatRequest, Completion
from curation.sample import Message, Sample
from curation.texts.code_answers import known_tests, program_of
from curation.texts.code_running import NOT_STARTED, UNDECIDED, CodeOutcome, run_code
from synthesis.candidates import in_parallel
from synthesis.elimination import unusable
from synthesis.reply_parts import Names, whole_text
from synthesis.synthesizer import Call, Outcome, Steps, Synthesizer

PROBLEM: Names = {"problem": ("problem", "problem description", "task", "exercise", "题目", "问题", "问题描述", "任务")}
SNIPPET_LINES = 15


class CodeWithTests(Synthesizer):
    """Write tests for a code problem, solve it several times, run every solution, keep the first that passes.

    The problem is the seed sample's instruction; with `snippets` the model first invents one, inspired by a few lines
    of the seed sample. Tests and solutions are Python, and run where they can do no harm
    (`curation.texts.code_running`). The tests stay in the metadata, where `code-tests` finds them, with the share of
    solutions that passed.

    Source: the self-instruct data of Code Llama (Rozière et al. 2023, arXiv:2308.12950, section 2.5): tests, 10
    solutions, the first passing one; OSS-Instruct (Wei et al. 2023, Magicoder, arXiv:2312.02120): 1 to 15 lines in a
    row as seeds.
    Differs from the source: own prompts; problems come from the corpus; tests that pass without any solution are
    rejected; the pass rate is kept.
    """

    name: ClassVar[str] = "code-with-tests"
    runs_code: ClassVar[bool] = True
    prompts: ClassVar[tuple[str, ...]] = ("code_problem", "code_tests", "code_solution")
    seeds_per_shard: ClassVar[int] = 8

    solutions: int = Field(10, ge=1, le=64, description="Solutions of each problem.")
    snippets: bool = Field(False, description="Invent the problem from a few lines of the seed sample (OSS-Instruct).")
    seconds: float = Field(5.0, gt=0, le=120, description="Seconds that one solution may run.")
    memory_mb: int = Field(512, ge=64, description="Megabytes of memory that it may have.")
    temperature: float = Field(0.8, ge=0, le=2, description="Sampling temperature of the solutions; 0 repeats itself.")
    top_p: float | None = Field(
        None, gt=0, le=1, description="Nucleus sampling: the share of likely tokens to draw from."
    )
    max_tokens: int = Field(2500, ge=1, description="Tokens of one answer at most.")

    def suits(self, sample: Sample) -> bool:
        """A question in one turn, or anything with code where problems are invented."""
        if self.snippets:
            return bool(f"{sample.instruction}{sample.response}".strip())
        return super().suits(sample) and sum(m.role == "user" for m in sample.messages) == 1

    def steps(self, sample: Sample, rng: random.Random) -> Steps:
        """One outcome."""
        problem = sample.instruction.strip()
        calls: list[Call] = []
        about: dict[str, Any] = {}
        if self.snippets:
            about = {"snippet": snippet(sample.response or sample.instruction, rng)}
            calls.append(self._call("problem", self.fill("code_problem", snippet=about["snippet"]), 0.0))
            completion: Completion = yield calls[-1]
            reply = completion.text or ""
            problem = whole_text(reply, PROBLEM)
            if violation := unusable(problem, completion.finish_reason):
                return [_rejected(sample.instruction or about["snippet"], calls, about, *violation)]
        calls.append(self._call("tests", self.fill("code_tests", problem=problem), 0.0))
        completion = yield calls[-1]
        tests, violation = self._checked_tests(completion)
        about = {**about, "tests": tests, "tests_text": completion.text} if violation else {**about, "tests": tests}
        if violation:
            return [_rejected(problem, calls, about, *violation)]
        asked = self.fill("code_solution", problem=problem, tests="\n".join(tests))
        solving = tuple(self._call(f"solution {n}", asked, self.temperature, n) for n in range(1, self.solutions + 1))
        completions: list[Completion] = yield solving
        return [self._first_passing(problem, tests, calls, solving, completions, about)]

    def _call(self, step: str, text: str, temperature: float, number: int = 1) -> Call:
        parameters = {"temperature": temperature, "top_p": self.top_p, "max_tokens": self.max_tokens}
        return Call(step, ChatRequest((("user", text),), parameters, sample_index=number - 1))

    def _checked_tests(self, completion: Completion) -> tuple[list[str], tuple[str, str] | None]:
        """Tests that test something, and what is wrong with them."""
        reply = completion.text or ""
        if violation := unusable(reply, completion.finish_reason):
            return [], violation
        program = program_of("", reply)
        tests = known_tests({"tests": program.source or reply})
        if not tests:
            return [], ("no-tests", program.reason or "there is no test in the Python code")
        if run_code("", tests, seconds=self.seconds, memory_mb=self.memory_mb).passed:
            return tests, ("tests-test-nothing", "they pass without any solution")
        return tests, None

    def _first_passing(
        self,
        problem: str,
        tests: list[str],
        before: Sequence[Call],
        solving: Sequence[Call],
        completions: Sequence[Completion],
        about: dict[str, Any],
    ) -> Outcome:
        """The first solution that passes, with how many do."""
        answers = [(completion.text or "").strip() for completion in completions]
        distinct = list(dict.fromkeys(answers))
        found = dict(zip(distinct, in_parallel(lambda one: self._run(problem, one, tests), distinct), strict=True))
        runs = [found[answer] for answer in answers]
        counted = [run for run in runs if run is None or run.error_kind not in (*UNDECIDED, NOT_STARTED)]
        passed = [place for place, run in enumerate(runs) if run is not None and run.passed]
        errors = [_error(run) for run in runs]
        about = {**about, "pass_rate": len(passed) / len(counted) if counted else None, "solutions": len(runs)}
        about["errors"] = [error for error in dict.fromkeys(errors) if error][:5]
        shown = answers[passed[0]] if passed else next((answer for answer in answers if answer), "")
        turns = (Message("user", problem), Message("assistant", shown))
        used = (*before, *solving)
        if not passed:
            detail = f"none of {len(runs)} solutions passes the tests: {about['errors'][0] if about['errors'] else '-'}"
            return Outcome(turns, used, about, rejected_by="no-solution-passes", detail=detail)
        return Outcome(turns, used, {**about, "solution": passed[0] + 1})

    def _run(self, problem: str, answer: str, tests: list[str]) -> CodeOutcome | None:
        """What became of a solution; null where it holds no Python."""
        source = program_of(problem, answer).source
        return run_code(source, tests, seconds=self.seconds, memory_mb=self.memory_mb) if source else None


def _error(run: CodeOutcome | None) -> str:
    if run is None:
        return "no Python code"
    return "" if run.passed else f"{run.error_kind}: {run.detail}"


def _rejected(problem: str, calls: Sequence[Call], about: dict[str, Any], rule: str, detail: str) -> Outcome:
    return Outcome((Message("user", problem),), tuple(calls), about, rejected_by=rule, detail=detail)


def snippet(text: str, rng: random.Random) -> str:
    """1 to 15 lines in a row of a text, none of them blank at either end."""
    lines = text.strip().splitlines()
    count = rng.randint(1, min(SNIPPET_LINES, len(lines)))
    start = rng.randint(0, len(lines) - count)
    return "\n".join(lines[start : start + count]).strip("\n") or text.strip()[:500]
