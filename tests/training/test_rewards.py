from __future__ import annotations

import pytest

from curation.errors import WinnowError
from training.data.mix_folder import example
from training.rewards import REWARDS, Answer, Question, checked_rewards, prompt_of, question_of, rated, unfit
from training.rewards.diagnosis import reward_hacking, without_signal
from training.rewards.shaping import repeated_share


def value(name: str, answer: str, tokens: int = 1, most: int = 100, **question: object) -> float | None:
    return REWARDS[name](Question(**{"instruction": "", **question}), Answer(answer, tokens, most)).value  # type: ignore[arg-type]


def test_a_final_answer_is_right_however_it_is_marked() -> None:
    for answer in (
        "It is 6 * 7.\n#### 42",
        r"So \boxed{42}.",
        "The answer is 42.0",
        "so it makes $42",
        "所以答案是 42。",
    ):
        assert value("final-answer", answer, reference="42") == 1.0
    for answer in ("#### 41", "I don't know", "", "#### 42 (wait, no)\n#### 43"):
        assert value("final-answer", answer, reference="42") == 0.0
    assert value("final-answer", "答案：12万", reference="120000") == 1.0


def test_an_answer_without_a_known_reference_has_no_reward_and_says_why() -> None:
    reward = REWARDS["final-answer"](Question("How many?"), Answer("#### 42", 3, 100))
    assert reward.value is None
    assert reward.reason == "no final answer is known"


def test_code_is_right_when_all_tests_pass_and_wrong_when_one_does_not() -> None:
    tests = ("assert twice(2) == 4", "assert twice(-1) == -2")
    assert value("code-tests", "```python\ndef twice(n):\n    return 2 * n\n```", tests=tests) == 1.0
    assert value("code-tests", "```python\ndef twice(n):\n    return n * n\n```", tests=tests) == 0.0
    assert value("code-tests", "用加法即可。", tests=tests) == 0.0
    assert value("code-tests", "def twice(n): return 2 * n") is None


def test_format_is_the_share_of_constraints_that_are_kept() -> None:
    asked = "Describe a kettle in at most 5 words. Use no commas."
    assert value("format", "a pot for hot water", instruction=asked) == 1.0
    assert value("format", "a pot, for hot water", instruction=asked) == 0.5
    assert value("format", "a pot, usually of metal, for hot water", instruction=asked) == 0.0
    assert value("format", "", instruction=asked) == 0.0
    assert value("format", "anything", instruction="Describe a kettle.") is None


def test_format_reads_chinese_constraints() -> None:
    asked = "请用不超过10个字介绍北京。"
    assert value("format", "北京是中国的首都。", instruction=asked) == 1.0
    assert value("format", "北京是中华人民共和国的首都，也是政治和文化的中心。", instruction=asked) == 0.0


def test_length_costs_nothing_up_to_four_fifths_and_one_at_the_end() -> None:
    # DAPO, equation 13, with L_max 100 and L_cache 20.
    lengths = {0: 0.0, 80: 0.0, 85: -0.25, 90: -0.5, 100: -1.0, 120: -1.0}
    assert {tokens: value("length", "x", tokens) for tokens in lengths} == pytest.approx(lengths)


def test_repetition_is_the_share_of_runs_of_three_words_that_came_before() -> None:
    assert value("no-repetition", "a b c a b c") == -0.25  # abc bca cab abc: one of four
    assert value("no-repetition", "No, no. NO no!") == -0.5  # two runs, both the same
    assert value("no-repetition", "two words") == 0.0
    assert repeated_share("好好好好好") == pytest.approx(2 / 3)  # three runs of three characters
    assert repeated_share("今天天气很好") == 0.0


def test_rewards_are_added_and_one_that_is_null_is_left_out() -> None:
    question = Question("How many? Answer in all lowercase letters.", reference="42")
    rating = rated(question, Answer("FORTY TWO: 42", 90, 100), ("final-answer", "format", "length"))
    assert rating.total == pytest.approx(1.0 + 0.0 - 0.5)
    no_format = rated(Question("How many?", reference="42"), Answer("42", 1, 100), ("final-answer", "format"))
    assert no_format.total == 1.0


def test_length_alone_says_nothing_of_an_answer_that_was_to_be_verified() -> None:
    assert rated(Question("How many?"), Answer("42", 1, 100), ("final-answer", "length")).total is None
    assert unfit(Question("How many?"), ("final-answer", "length")) == "no final answer is known"
    assert unfit(Question("How many?"), ("length",)) is None
    assert unfit(Question("How many?", reference="42"), ("final-answer", "code-tests")) is None


def test_unknown_and_repeated_rewards_are_refused_with_the_names_there_are() -> None:
    for names in (("final-answer", "beauty"), ("length", "length"), ()):
        with pytest.raises(WinnowError) as refused:
            checked_rewards(names)
        assert "final-answer, code-tests, format, length, no-repetition" in refused.value.fix


def asked(answer: str, **more: object) -> Question:
    turns = [{"role": "user", "content": "How many?"}, {"role": "assistant", "content": answer}]
    return question_of(example({"messages": turns, **more}))


def test_the_command_knows_every_reward() -> None:
    from studio.commands import iterating

    assert tuple(REWARDS) == iterating.REWARDS


def test_the_expected_answer_is_the_rows_reference_or_what_its_last_turn_marks() -> None:
    assert asked("Six times seven.\n#### 42").reference == "42"
    assert asked(r"Thus $\boxed{\frac{1}{2}}$, as wanted.").reference == r"\frac{1}{2}"
    assert asked("Six times seven.\n#### 42", reference="43").reference == "43"
    assert asked("forty-two").reference == "forty-two"
    assert (
        asked("There were 3 apples and 4 pears on the table, and in the garden there stood a tree.\n" * 2).reference
        is None
    )


def test_tests_come_with_the_row() -> None:
    question = asked("def f(): return 1", tests=["assert f() == 1"], entry_point="f")
    assert question.tests == ("assert f() == 1",)
    assert question.entry_point == "f"


def test_the_prompt_is_all_before_the_last_answer() -> None:
    turns = [
        {"role": r, "content": c} for r, c in (("user", "1"), ("assistant", "2"), ("user", "3"), ("assistant", "4"))
    ]
    assert [turn["content"] for turn in prompt_of(example({"messages": turns}))] == ["1", "2", "3"]
    assert [turn["content"] for turn in prompt_of(example({"messages": turns[:1]}))] == ["1"]


def steps(**series: list[float]) -> list[dict[str, object]]:
    return [
        {"type": "log", "step": i, **dict(zip(series, values, strict=True))}
        for i, values in enumerate(zip(*series.values(), strict=True))
    ]


RISING = [0.1] * 4 + [0.5] * 4


def test_a_reward_that_rises_with_steady_answers_is_no_finding() -> None:
    assert reward_hacking(steps(reward=RISING, answer_tokens=[50.0] * 8, repetition=[0.1] * 8)) == []


def test_a_reward_that_rises_while_answers_explode_or_repeat_is_told_in_numbers() -> None:
    events = steps(reward=RISING, answer_tokens=[50.0] * 4 + [80.0] * 4, repetition=[0.0] * 4 + [0.3] * 4)
    told = [finding.message for finding in reward_hacking(events)]
    assert told == [
        "Answers grew from 50 to 80 tokens while the reward rose from 0.1 to 0.5.",
        "Repetition rose from 0% to 30% while the reward rose from 0.1 to 0.5.",
    ]


def test_a_reward_that_is_won_by_saying_next_to_nothing_is_told() -> None:
    (found,) = reward_hacking(steps(reward=RISING, answer_tokens=[18.0] * 4 + [5.0] * 4))
    assert found.message == "Answers shrank from 18 to 5 tokens while the reward rose from 0.1 to 0.5."


def test_a_held_out_reward_that_falls_while_the_reward_rises_is_told() -> None:
    held_out = [{"type": "held_out", "step": i, "reward": r} for i, r in enumerate((0.2, 0.4, 0.3))]
    found = reward_hacking([*steps(reward=RISING), *held_out])
    assert [f.message for f in found] == [
        "The held-out reward fell from 0.4 to 0.3 while the reward rose from 0.1 to 0.5."
    ]


def test_a_reward_that_does_not_rise_and_short_runs_are_left_alone() -> None:
    longer = [50.0] * 4 + [80.0] * 4
    assert reward_hacking(steps(reward=RISING[::-1], answer_tokens=longer)) == []
    assert reward_hacking(steps(reward=RISING, answer_tokens=longer)[:7]) == []
    assert reward_hacking([{"type": "log", "step": 1, "loss": 0.5}, {"type": "held_out", "step": 1, "loss": 0.5}]) == []


def test_no_difference_in_any_step_is_nothing_learned() -> None:
    events = steps(reward=[0.0] * 3, no_spread=[1.0] * 3)
    assert (
        without_signal(events)[0].message
        == "No prompt had answers of different reward in 3 logged steps: nothing was learned."
    )
    assert without_signal(steps(reward=[0.0, 0.1], no_spread=[1.0, 0.5])) == []
