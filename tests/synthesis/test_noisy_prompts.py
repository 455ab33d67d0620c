from __future__ import annotations

import random

import pytest

from curation.sample import Message, Sample
from synthesis import NoisyPrompts, synthesize
from synthesis.typing_noise import KINDS, noisy
from tests.synthesis.loopback import Loopback
from tests.synthesis.samples import SeededCorpus, asked
from tests.synthesis.scripted import played

ENGLISH = 'Please explain the difference between weather and climate, with 3 examples; use `t = 21.5` and "El Niño".'
CHINESE = "请帮我写一首关于春天的诗，要求在50字以内，并解释“春晖”的意思。"
SEED = asked(ENGLISH, "Weather is what you get.")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", [ENGLISH, CHINESE])
def test_what_the_answer_depends_on_never_changes(kind, text):
    for seed in range(30):
        found = noisy(text, kind, 0.5, random.Random(seed))
        for kept in ("3", "`t = 21.5`", '"El Niño"') if text is ENGLISH else ("50", "“春晖”"):
            assert kept in found, found


@pytest.mark.parametrize(
    "kind, text, found",
    [
        ("punctuation", "Well, why? Tell me.", "Well why Tell me"),
        ("case", "Go", ("go", "GO", "gO")),
        ("mixed", "请写一个例子", "请写一个 example "),
        ("mixed", "Give an example", "Give an 例子"),
        ("typos", "在", "再"),
        ("keyboard", "aaaa", ("saaa", "asaa", "aasa", "aaas")),
        ("typos", "abcd", ("acbd", "abdc", "acd", "abd", "abbcd", "abccd")),
    ],
)
def test_each_kind_slips_in_its_own_way(kind, text, found):
    allowed = found if isinstance(found, tuple) else (found,)
    for seed in range(20):
        result = noisy(text, kind, 0.1 if kind != "mixed" else 0.01, random.Random(seed))
        assert result in allowed or (kind == "mixed" and result in ("please 写一个例子",)), result


def test_equal_random_states_slip_equally():
    assert noisy(ENGLISH, "typos", 0.3, random.Random(7)) == noisy(ENGLISH, "typos", 0.3, random.Random(7))


def test_the_answer_stays_and_no_model_is_asked():
    outcomes, calls = played(NoisyPrompts(variants=3), SEED)
    assert len(outcomes) == 3
    assert len({o.metadata["way"] for o in outcomes}) == 3
    assert calls == []
    assert all(o.messages[1] == SEED.messages[1] and o.messages[0].content != ENGLISH for o in outcomes)


def test_a_way_that_changes_nothing_gives_way_to_another():
    [outcome], _ = played(NoisyPrompts(ways=("case", "punctuation")), asked("写一首诗。", "春天来了。"))
    assert (outcome.messages[0].content, outcome.metadata["way"]) == ("写一首诗", "punctuation")
    [outcome], _ = played(NoisyPrompts(ways=("case",)), asked("写一首诗。", "春天来了。"))
    assert outcome.rejected_by == "unchanged"


WRITTEN = NoisyPrompts(ways=("written",))


@pytest.mark.parametrize(
    "replies, rule",
    [
        (['weather vs climate?? 3 examples, `t = 21.5` "El Niño"', "Equal"], None),
        (['weather vs climate?? 3 examples, `t = 21.5` "El Niño"', "Not Equal"], "meaning-changed"),
        (['weather vs climate?? 3 examples, `t = 21.5` "El Niño"', "hard to say"], "meaning-changed"),
        (["weather vs climate??"], "meaning-changed"),
        ([ENGLISH], "unchanged"),
        ([""], "empty"),
    ],
)
def test_what_the_model_writes_must_still_ask_for_the_same(replies, rule):
    [outcome], calls = played(WRITTEN, SEED, *replies)
    assert outcome.rejected_by == rule
    assert outcome.messages[1] == SEED.messages[1]
    assert len(replies) == 1 or calls[1].role == "judge"


def test_of_a_conversation_the_last_instruction_slips():
    turns = [
        ("system", "Be brief."),
        ("user", "Hi"),
        ("assistant", "Hello"),
        ("user", "Tell me more."),
        ("assistant", "No"),
    ]
    sample = Sample(tuple(Message(*turn) for turn in turns))
    [outcome], _ = played(NoisyPrompts(ways=("punctuation",)), sample)
    assert [m.content for m in outcome.messages] == ["Be brief.", "Hi", "Hello", "Tell me more", "No"]
    assert not NoisyPrompts().suits(Sample(sample.messages[:-1]))


def test_a_run_by_rule_makes_no_call(tmp_path):
    corpus = SeededCorpus(tmp_path, [SEED, asked(CHINESE, "春眠不觉晓。")])
    with Loopback() as server:
        report = synthesize(corpus, NoisyPrompts(variants=2), server.spec)
    assert (report.accepted, report.calls, server.requests) == (4, 0, 0)
