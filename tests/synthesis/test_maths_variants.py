"""Maths problems turned, and kept where the final answer is right."""

from __future__ import annotations

import json

import pytest

from curation.language_models.models import Completion
from curation.sample import Message, Sample
from synthesis import MathsVariants
from synthesis.maths_variants import masked
from tests.data import shared
from tests.synthesis.samples import asked
from tests.synthesis.scripted import played

APPLES = asked("Ann has 12 apples and eats 5. How many are left?", "12 - 5 = 7\n#### 7")
CHINESE = asked("小明有12个苹果，吃了5个，还剩几个？", "还剩7个。", metadata={"answer": "7"})


def test_numbers_are_hidden_one_at_a_time() -> None:
    assert [(m.text, m.value) for m in masked("Ann has 12 apples and eats 1,200.")] == [
        ("Ann has X apples and eats 1,200.", "12"),
        ("Ann has 12 apples and eats X.", "1200"),
    ]
    assert [m.text for m in masked("小明有12个，每个3.5元。")] == ["小明有X个，每个3.5元。", "小明有12个，每个X元。"]
    assert [m.text for m in masked("It costs $2.50 at 12:30 on the 5th, 3/4 of H2O, x^2.")] == [
        "It costs $X at 12:30 on the 5th, 3/4 of H2O, x^2."
    ]


@pytest.mark.parametrize(
    ("answer", "rule", "detail"),
    [
        ("Twelve less five.\n#### 7", None, None),
        ("还剩 7 个苹果。答案是 7.0", None, None),
        ("12 - 5 = 8\n#### 8", "wrong-answer", "8 instead of 7"),
        ("Nobody knows.", "wrong-answer", "no final answer instead of 7"),
        ("12 - 5 = 7\n#### 7", "same-as-seed", "the answer is the one the sample has already"),
        (Completion("12 - 5 =", finish_reason="length"), "truncated", "cut off at the length limit: raise max_tokens"),
    ],
)
def test_another_answer_is_kept_when_its_final_answer_agrees(answer: str, rule: str | None, detail: str | None) -> None:
    [outcome], [call] = played(MathsVariants(kinds="answer"), APPLES, answer)
    assert (outcome.rejected_by, outcome.detail, call.request.parameters["temperature"]) == (rule, detail, 0.7)
    assert outcome.messages[0] == APPLES.messages[0]


def test_a_rephrased_problem_has_the_same_answer() -> None:
    kind = MathsVariants(kinds="rephrase")
    [kept], calls = played(kind, APPLES, "Of Ann's 12 apples 5 are eaten. What is left?", "#### 7")
    [wrong], _ = played(kind, APPLES, "Ann buys 12 and 5 apples. How many has she?", "#### 17")
    [same], _ = played(kind, APPLES, APPLES.instruction)
    assert [o.rejected_by for o in (kept, wrong, same)] == [None, "wrong-answer", "same-as-seed"]
    assert calls[1].request.messages[0][1].startswith("Of Ann's 12 apples")
    assert kept.metadata == {"kind": "rephrase", "expected_answer": "7", "found": "7"}


def test_backwards_the_answer_is_given_and_a_number_asked_for() -> None:
    kind = MathsVariants(kinds="backward", repeats=2)
    texts = {"X apples and eats 5": "#### 12", "12 apples and eats X": "#### 5"}
    steps = kind.steps(APPLES, kind.random_state(APPLES, 0))
    asked_for = next(steps).request.messages[0][1]  # type: ignore[union-attr]
    [first] = [reply for part, reply in texts.items() if part in asked_for]
    outcomes, _ = played(kind, APPLES, first, "#### 99")
    assert [o.rejected_by for o in outcomes] == [None, "wrong-answer"]
    assert (
        outcomes[0]
        .messages[0]
        .content.endswith("The answer to this question is 7. What is the value of the unknown X?")
    )
    assert {o.metadata["expected_answer"] for o in outcomes} == {"12", "5"}


def test_chinese_problems_are_turned_in_chinese() -> None:
    [outcome], _ = played(MathsVariants(kinds="backward"), CHINESE, "所以 X 是 12，也可能是 5")
    assert outcome.messages[0].content.endswith("已知上面问题的答案是7，求未知数X的值。")


def test_self_verification_tells_it_as_a_statement_that_keeps_the_unknown() -> None:
    kind = MathsVariants(kinds="self_verification")
    [lost], _ = played(kind, APPLES, "Ann had some apples, and 7 are left.")
    outcomes, calls = played(kind, APPLES, "Ann has X apples, eats 5, and 7 are left.", "X = 7 + 5\n#### 12")
    assert lost.rejected_by == "unknown-lost"
    assert outcomes[0].messages[0].content == (
        "Ann has X apples, eats 5, and 7 are left.\n\nWhat is the value of the unknown X?"
    )
    assert "#Answer#\n7" in calls[0].request.messages[0][1]


def test_a_problem_is_suited_when_its_answer_is_known() -> None:
    kind = MathsVariants()
    named = MathsVariants(reference="key")
    essay = asked("Write about 3 rivers.", "There are many.")
    assert [kind.suits(s) for s in (APPLES, CHINESE, essay)] == [True, True, False]
    assert [named.suits(s) for s in (APPLES, asked("1+1?", metadata={"key": 2}))] == [False, True]
    assert not kind.suits(Sample((*APPLES.messages, Message("user", "And of 6?"), Message("assistant", "#### 1"))))


def test_without_a_number_nothing_is_asked_backwards() -> None:
    [outcome], calls = played(MathsVariants(kinds="backward"), asked("What is two and two?", "#### 4"))
    assert (outcome.rejected_by, calls) == ("no-number", [])


def test_of_1319_real_problems_nearly_all_have_a_number_and_a_known_answer() -> None:
    rows = [json.loads(line) for line in shared("data/gsm8k_test.jsonl").read_text().splitlines()]
    samples = [asked(row["question"], row["answer"]) for row in rows]
    assert all(MathsVariants().suits(sample) for sample in samples)
    assert sum(bool(masked(sample.instruction)) for sample in samples) >= 1290
