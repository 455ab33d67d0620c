"""What an outcome must be like to become a sample: rules that look at it alone, then rules that look at the others.

The first kind is asked as soon as an outcome is there, cheap ones first and the judge last; samples that the corpus
held before the run belong to it, as they don't change. The second kind compares new samples with each other and decides
in the order of the seed samples, so that of two alike texts the same one is always kept.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr

from curation.language_models.judging import score_in
from curation.language_models.models import ChatRequest, Completion
from curation.operators import parted
from curation.sample import Sample, response_of
from synthesis import conversation_rules as rules
from synthesis.compared import Compared, given_text
from synthesis.elimination import EVOLUTION_RULES, first_violation, word_count
from synthesis.prompting import BUILT_IN, Prompts
from synthesis.synthesizer import Call, Outcome

if TYPE_CHECKING:
    import polars as pl

    from synthesis.drawing import Samples
    from synthesis.known_texts import Objection

Pair = tuple[Sample, Outcome]
LOWEST, HIGHEST = 1, 10
"""The scale of the judge."""


class Acceptance(BaseModel):
    """The rules of a run; without a setting only those that its synthesizer applies itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    whole: bool = Field(
        False,
        description="Reject what is no whole conversation: empty turns, chat template or thinking marks in the text, "
        "a code block that is not closed",
    )
    answer_format: Literal["json", "python"] | None = Field(
        None, description="Every answer must be JSON, or hold Python code that compiles"
    )
    min_instruction_words: int | None = Field(
        None, ge=1, description="Words of an instruction at least (a Chinese character is one)"
    )
    max_instruction_words: int | None = Field(None, ge=1, description="Words of an instruction at most")
    min_answer_words: int | None = Field(
        None, ge=1, description="Words of the last answer at least; a Chinese character counts as one"
    )
    max_answer_words: int | None = Field(None, ge=1, description="Words of the last answer at most")
    max_characters: int | None = Field(None, ge=1, description="Characters of all turns together at most")
    language: str | None = Field(
        None,
        pattern=r"^(same|[a-z]{2,3}(\s*,\s*[a-z]{2,3})*)$",
        description="Language of instruction and answer: `same` as the seed sample, or codes such as `zh` or `en,zh`",
    )
    refusals: bool = Field(False, description="Reject answers that begin with a refusal, English or Chinese")
    eliminate: bool = Field(
        False, description="Apply the elimination rules of Evol-Instruct and Auto Evol-Instruct to every answer"
    )
    banned: Annotated[tuple[str, ...], BeforeValidator(parted)] = Field(
        (), description="Words that must not occur anywhere, with commas between them; case does not matter"
    )
    exact: bool = Field(
        False, description="Reject a text that the corpus or an earlier new sample has, but for case and punctuation"
    )
    max_rouge: float | None = Field(
        None, gt=0, lt=1, description="Reject above this ROUGE-L to any sample of the corpus or new one; usual is 0.7"
    )
    max_cosine: float | None = Field(
        None, gt=0, lt=1, description="Reject above this cosine to any seed sample or new one; usual is 0.9"
    )
    encoder: str = Field(
        "lexical",
        description="What makes vectors for the cosine: lexical, or an encoder such as sentence-transformers:NAME",
    )
    compare: Literal["auto", "instruction", "both"] = Field(
        "auto",
        description="Text of the three comparisons; auto: the instruction, and with the answer where the instruction "
        "is the seed sample's own",
    )
    parents_count: bool = Field(
        False,
        description="Let max_rouge and max_cosine count the samples too that a new one was made from, and others made "
        "from the same seed sample (rounds of an evolution, several answers)",
    )
    benchmarks: Annotated[tuple[str, ...], BeforeValidator(parted)] = Field(
        (), description="Benchmark files, with commas between them: reject what holds one of their questions"
    )
    run_tests: bool = Field(
        False, description="Run the code of the answer against the tests in the metadata of the new or the seed sample"
    )
    test_seconds: float = Field(10.0, gt=0, le=600, description="Seconds that such code may run")
    test_memory_mb: int = Field(512, ge=64, description="Megabytes of memory that such code may have")
    min_score: float | None = Field(
        None,
        ge=LOWEST,
        le=HIGHEST,
        description="Ask the judge for a score from 1 to 10 and reject below this; usual is 7",
    )
    judge_max_tokens: int = Field(1024, ge=1, description="Tokens of the judge's answer at most")

    _prompts: Prompts = PrivateAttr(default_factory=lambda: BUILT_IN)
    _compared: Compared | None = PrivateAttr(None)

    def with_prompts(self, folder: Path) -> Self:
        """These rules with the user's wording of the judge's prompt (`accept`), where `folder` holds one."""
        mine = self.model_copy()
        mine._prompts = Prompts(folder)
        return mine

    def spec(self) -> dict[str, Any]:
        """What differs from the defaults, with what else the verdicts depend on: prompt and benchmark files."""
        found = self.model_dump(mode="json", exclude_defaults=True)
        if self.min_score is not None:
            found["prompts"] = self._prompts.versions("accept")
        if self.benchmarks:
            from curation.scorers.contamination import Contamination

            found["benchmarks_hash"] = Contamination(benchmarks=self.benchmarks).fingerprint()
        return found

    def checked(self, seed: Sample, outcomes: list[Outcome]) -> Generator[Call | tuple[Call, ...], Any, list[Outcome]]:
        """The outcomes of a seed sample, rejected where a rule objects; yields calls as `Synthesizer.steps` does."""
        found = [self._looked_at(seed, outcome) for outcome in outcomes]
        if self.min_score is not None:  # many at once are far cheaper, but the judge is dearer still
            found = self.decontaminated(found)
        found = [self._tested(seed, outcome) for outcome in found]
        if self.min_score is None:
            return found
        open_places = [place for place, outcome in enumerate(found) if outcome.rejected_by is None]
        calls = tuple(self._judge_call(found[place]) for place in open_places)
        if calls:
            completions: list[Completion] = yield calls
            for place, call, completion in zip(open_places, calls, completions, strict=True):
                found[place] = self._judged(found[place], call, completion)
        return found

    def gate(self, corpus: Samples, seeds: Sequence[Sample]) -> Gate:
        """The rules that look at the other samples.

        Raises:
            OperatorError: the lexical encoder has too few samples to learn from.
        """
        compares = self.exact or self.max_rouge is not None or self.max_cosine is not None
        self._compared = Compared(self, corpus, seeds) if compares else None
        return _RulesGate(self, self._compared)

    def _looked_at(self, seed: Sample, outcome: Outcome) -> Outcome:
        if outcome.rejected_by is not None:
            return outcome
        objection = next(self._objections(seed, outcome), None)
        if objection is None and self._compared is not None:
            objection = self._compared.to_corpus(seed, outcome)
        return outcome if objection is None else rejecting(outcome, *objection)

    def _objections(self, seed: Sample, outcome: Outcome) -> Iterator[Objection]:
        """What the rules say that look at the outcome alone, cheap ones first."""
        asked = "\n\n".join(m.content for m in outcome.messages if m.role == "user")
        answer = response_of(outcome.messages)
        good = outcome.label is not False
        if self.whole and (seen := rules.broken_turns(outcome.messages)):
            yield "format", seen
        if self.answer_format and good and (seen := rules.other_format(answer, self.answer_format)):
            yield "format", seen
        yield from self._lengths(outcome, asked, answer)
        if self.language and (seen := rules.other_language(asked, answer, given_text(seed), self.language)):
            yield "language", seen
        if self.refusals and good and (seen := rules.refused(answer)):
            yield "refusal", seen
        if self.eliminate and good and (violation := first_violation(answer, EVOLUTION_RULES)):
            yield violation
        text = "\n".join(m.content for m in outcome.messages).casefold() if self.banned else ""
        yield from (("banned", f"holds {word!r}") for word in self.banned if word.casefold() in text)

    def _lengths(self, outcome: Outcome, asked: str, answer: str) -> Iterator[Objection]:
        bounds = (
            ("instruction", asked, self.min_instruction_words, self.max_instruction_words),
            ("answer", answer, self.min_answer_words, self.max_answer_words),
        )
        for name, text, low, high in bounds:
            words = word_count(text) if low or high else 0
            if low is not None and words < low:
                yield "length", f"the {name} has {words:,} words, fewer than {low:,}"
            if high is not None and words > high:
                yield "length", f"the {name} has {words:,} words, more than {high:,}"
        size = sum(len(m.content) for m in outcome.messages)
        if self.max_characters is not None and size > self.max_characters:
            yield "length", f"the conversation has {size:,} characters, more than {self.max_characters:,}"

    def decontaminated(self, outcomes: list[Outcome]) -> list[Outcome]:
        """The outcomes, rejected where they hold a question of a benchmark."""
        places = [place for place, outcome in enumerate(outcomes) if outcome.rejected_by is None]
        if not self.benchmarks or not places:
            return outcomes
        import polars as pl

        from curation.scorers.contamination import Contamination

        samples = [Sample(outcomes[place].messages) for place in places]
        texts = {"instruction": [s.instruction for s in samples], "response": [s.response for s in samples]}
        found = Contamination(benchmarks=self.benchmarks).score(pl.DataFrame(texts))
        passed = list(outcomes)
        for place, row in zip(places, found.iter_rows(named=True), strict=True):
            if row["contaminated"]:
                where = f"{row['contamination_benchmark']}, item {row['contamination_item']}"
                seen = (
                    f"{row['contamination']:.0%} of {where} ({row['contamination_way']}): {row['contamination_span']!r}"
                )
                passed[place] = rejecting(outcomes[place], "contamination", seen[:300])
        return passed

    def _tested(self, seed: Sample, outcome: Outcome) -> Outcome:
        if not self.run_tests or outcome.rejected_by is not None or outcome.label is False:
            return outcome
        from curation.scorers.code_tests import checked_by_tests

        known = {**seed.metadata, **outcome.metadata}
        asked, answer = Sample(outcome.messages).instruction, response_of(outcome.messages)
        share, error, reason = checked_by_tests(asked, answer, known, None, self.test_seconds, self.test_memory_mb)
        if share is None:
            return rejecting(outcome, "execution", f"nothing could be run: {reason}")
        return outcome if share == 1 else rejecting(outcome, "execution", f"{share:.0%} of the tests passed: {error}")

    def _judge_call(self, outcome: Outcome) -> Call:
        asked = "\n\n".join(f"{m.role}: {m.content}" for m in outcome.messages[:-1])
        if [m.role for m in outcome.messages] == ["user", "assistant"]:
            asked = outcome.messages[0].content
        text = self._prompts.fill("accept", instruction=asked, answer=response_of(outcome.messages))
        parameters = {"temperature": 0.0, "max_tokens": self.judge_max_tokens}
        return Call("accept", ChatRequest((("user", text),), parameters), role="judge")

    def _judged(self, outcome: Outcome, call: Call, completion: Completion) -> Outcome:
        assert self.min_score is not None
        said = completion.text or ""
        score = score_in(said, LOWEST, HIGHEST)
        metadata = {**outcome.metadata, "judged": {"score": score, "said": said}}
        outcome = replace(outcome, calls=(*outcome.calls, call), metadata=metadata)
        if score is None:
            return rejecting(outcome, "judge-unreadable", f"no score from {LOWEST} to {HIGHEST} in {said[:200]!r}")
        if score < self.min_score:
            return rejecting(outcome, "judge", f"scored {score:g}, below {self.min_score:g}")
        return outcome


class Gate:
    """Rules that look at the corpus, the seed samples and what was accepted before."""

    def remember(self, made: pl.DataFrame) -> None:
        """Take in what earlier commands of this run have accepted, as rows of a shard."""

    def passed(self, pairs: list[Pair]) -> list[Pair]:
        """The same pairs in the same order, rejected where a rule objects; each one accepted counts for those after."""
        return pairs


class _RulesGate(Gate):
    """Looks for benchmarks, many outcomes at once, and compares new samples with each other."""

    def __init__(self, acceptance: Acceptance, compared: Compared | None) -> None:
        self._acceptance = acceptance
        self._compared = compared

    def remember(self, made: pl.DataFrame) -> None:
        if self._compared is not None:
            self._compared.remember(*(made[name].to_list() for name in ("id", "instruction", "response")))

    def passed(self, pairs: list[Pair]) -> list[Pair]:
        seeds, outcomes = [seed for seed, _ in pairs], [outcome for _, outcome in pairs]
        if self._acceptance.min_score is None:
            outcomes = self._acceptance.decontaminated(outcomes)
        return [(seed, self._among(seed, outcome)) for seed, outcome in zip(seeds, outcomes, strict=True)]

    def _among(self, seed: Sample, outcome: Outcome) -> Outcome:
        """The outcome, rejected if those before it object; if not, it counts for those after."""
        if self._compared is None or outcome.rejected_by is not None:
            return outcome
        if objection := self._compared.to_made(seed, outcome):
            return rejecting(outcome, *objection)
        made = Sample(outcome.messages, rejected=outcome.rejected, label=outcome.label)
        self._compared.accept(seed, made)
        return outcome


def rejecting(outcome: Outcome, rule: str, detail: str) -> Outcome:
    """The outcome, rejected; one that is already keeps its first rule."""
    return outcome if outcome.rejected_by else replace(outcome, rejected_by=rule, detail=detail)
