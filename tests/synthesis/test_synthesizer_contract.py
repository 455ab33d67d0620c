"""What the verb promises a synthesizer: several calls at once, a judge, own seeds, rounds, the user's prompts."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import pytest
from pydantic import PrivateAttr

from curation.errors import OperatorError
from curation.language_models.models import ChatRequest
from curation.sample import Message, Sample
from synthesis import EvolInstruct, synthesize
from synthesis.shards import OWN_SEED
from synthesis.synthesizer import Call, Outcome, Steps, Synthesizer
from tests.synthesis.loopback import Loopback
from tests.synthesis.samples import SeededCorpus, asked

RIVERS = [asked("Name three rivers.", "Rhine, Nile, Amazon."), asked("说出三条河流。", "长江、黄河、珠江。")]


def call(step: str, text: str, **more: Any) -> Call:
    return Call(step, ChatRequest((("user", text),)), **more)


class Judged(Synthesizer):
    """Asks twice at once and has the judge choose."""

    name: ClassVar[str] = "judged"

    def steps(self, sample: Sample, rng: random.Random) -> Steps:
        short, long = yield call("short", f"short: {sample.instruction}"), call("long", f"long: {sample.instruction}")
        verdict = yield call("judge", f"{short.text} or {long.text}?", role="judge")
        turns = (Message("user", sample.instruction), Message("assistant", verdict.text))
        return [Outcome(turns, (call("short", f"short: {sample.instruction}"),))]


def test_several_calls_are_made_at_once_and_a_judge_of_its_own_judges(tmp_path: Path) -> None:
    corpus = SeededCorpus(tmp_path, RIVERS[:1])

    def echo(body: Any, number: int) -> str:
        return f"<{body['messages'][-1]['content']}>"

    with Loopback(echo) as model, Loopback(lambda body, n: f"judged {body['messages'][-1]['content']}") as judge:
        report = synthesize(corpus, Judged(), model.spec, judge_spec=judge.spec)
        assert (model.requests, judge.requests, report.judge, report.calls) == (2, 1, "loopback", 3)
    [made] = corpus.outcomes()
    assert made["response"] == "judged <short: Name three rivers.> or <long: Name three rivers.>?"


class Numbered(Synthesizer):
    """Begins with numbers that are in no corpus."""

    name: ClassVar[str] = "numbered"

    def own_seeds(self, limit: int | None, seed: int) -> list[Sample]:
        return [Sample((Message("user", str(n)),), metadata={OWN_SEED: True}) for n in range(limit or 3)]

    def steps(self, sample: Sample, rng: random.Random) -> Steps:
        reply = yield call("answer", sample.instruction)
        return [Outcome((*sample.messages, Message("assistant", reply.text)))]


def test_seeds_of_its_own_need_no_corpus_are_no_parents_and_are_resumed(tmp_path: Path) -> None:
    corpus = SeededCorpus(tmp_path)
    with Loopback() as server:
        synthesize(corpus, Numbered(), server.spec, limit=2)
        again = synthesize(corpus, Numbered(), server.spec, limit=2)
        assert (again.resumed, server.requests) == (2, 2)
    assert [list(o["parents"]) for o in corpus.outcomes()] == [[], []]


class Growing(Synthesizer):
    """Shows what was made in earlier rounds."""

    name: ClassVar[str] = "growing"
    in_rounds: ClassVar[bool] = True
    seeds_per_shard: ClassVar[int] = 2
    _made: tuple[str, ...] = PrivateAttr(())

    def among(self, seeds: Sequence[Sample], made: Sequence[Sample]) -> Self:
        mine = self.model_copy()
        mine._made = tuple(sample.instruction for sample in made)
        return mine

    def steps(self, sample: Sample, rng: random.Random) -> Steps:
        yield call("ask", f"{sample.instruction} after {len(self._made)}")
        return [Outcome((Message("user", f"{sample.instruction} {len(self._made)}"), Message("assistant", "yes")))]


def test_in_rounds_each_sees_what_all_rounds_before_have_made_also_after_a_stop(tmp_path: Path) -> None:
    seeds = [asked(f"Question {n}") for n in range(5)]
    whole, parted = SeededCorpus(tmp_path / "whole", seeds), SeededCorpus(tmp_path / "parted", seeds)

    def stop(done: int, total: int | None, message: str) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with Loopback(lambda body, n: "fine") as server:
        synthesize(whole, Growing(), server.spec, concurrency=1)
        with pytest.raises(KeyboardInterrupt):
            synthesize(parted, Growing(), server.spec, concurrency=1, progress=stop)
        synthesize(parted, Growing(), server.spec, concurrency=1)
    made = [o["instruction"] for o in whole.outcomes()]
    assert [text[-1] for text in made] == ["0", "0", "2", "2", "4"]
    assert [o["instruction"] for o in parted.outcomes()] == made


def test_the_user_s_wording_of_a_prompt_is_used_and_is_another_run(tmp_path: Path) -> None:
    corpus = SeededCorpus(tmp_path, RIVERS[:1])
    seen: list[str] = []

    def reply(body: Any, number: int) -> str:
        seen.append(body["messages"][-1]["content"])
        return "Name three rivers in Asia and their springs."

    evolve = EvolInstruct(operations=("in_breadth",), judge_gain=False)
    with Loopback(reply) as server:
        first = synthesize(corpus, evolve, server.spec)
        (tmp_path / "prompts").mkdir()
        (tmp_path / "prompts" / "in_breadth.md").write_text("Sei freundlich. {{instruction}}")
        second = synthesize(corpus, evolve, server.spec)
        (tmp_path / "prompts" / "in_breadth.md").write_text("Without the gap")
        with pytest.raises(OperatorError, match=r"The prompt 'in_breadth' has other gaps .* \{\{instruction\}\}"):
            synthesize(corpus, evolve, server.spec)
    assert (first.run != second.run, "Sei freundlich. Name three rivers." in seen) == (True, True)
