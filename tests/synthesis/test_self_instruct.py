from __future__ import annotations

import json

import pytest

from curation.language_models.models import Completion
from synthesis import SelfInstruct, synthesize
from synthesis.self_instruct import numbered_lines, worked_examples
from tests.synthesis.loopback import Loopback
from tests.synthesis.samples import SeededCorpus, asked
from tests.synthesis.scripted import played

SEEDS = [asked(text, "Done.") for text in (
    "Name three rivers of Europe.", "Explain how tides come about.", "写一首关于春天的诗。", "Is 91 a prime number?",
    "Translate the sentence into German.", "Find the mistake in the calculation.", "Plan a week of meals.",
    "Describe a day in the life of a baker.",
)]  # fmt: skip
ONE = SelfInstruct().among(SEEDS, [])


def test_new_instructions_become_samples_with_their_input():
    reply = "9. Convert the temperature to Celsius.\n\n10. 判断这句话的情感是积极还是消极。"
    outcomes, calls = played(
        ONE, SEEDS[0], reply, "No", "Yes",
        "Input: 50 degrees Fahrenheit\nOutput: 10 degrees Celsius", "Output: 积极\nInput: 今天的天气真好！",
    )  # fmt: skip
    assert [[m.content for m in o.messages] for o in outcomes] == [
        ["Convert the temperature to Celsius.\n\n50 degrees Fahrenheit", "10 degrees Celsius"],
        ["判断这句话的情感是积极还是消极。\n\n今天的天气真好！", "积极"],
    ]
    assert [o.rejected_by for o in outcomes] == [None, None]
    assert [o.metadata["classification"] for o in outcomes] == [False, True]
    assert [call.step for call in calls] == ["instructions", *["classify"] * 2, *["examples"] * 2]
    assert "first the input" in calls[3].request.messages[0][1]
    assert "first the label" in calls[4].request.messages[0][1]


def test_a_prompt_shows_six_seeds_and_two_made_ones_and_they_become_the_parents():
    made = [asked(f"Made instruction about {what}.", "x") for what in ("glass", "wool", "iron")]
    knows = SelfInstruct().among(SEEDS, made)
    [outcome], [call] = played(knows, SEEDS[0], "I have no ideas left")
    shown = [line for line in call.request.messages[0][1].splitlines() if line[:1].isdigit()]
    assert (len(shown), sum("Made" in line for line in shown)) == (8, 2)
    assert any(SEEDS[0].instruction in line for line in shown)
    assert len(outcome.parents) == 8
    assert {"temperature": 0.7, "top_p": 0.5, "presence_penalty": 2.0}.items() <= call.request.parameters.items()
    _, [first] = played(ONE, SEEDS[0], "")
    assert sum(line[:1].isdigit() for line in first.request.messages[0][1].splitlines()) == 8


@pytest.mark.parametrize(
    "line, rule",
    [
        ("Name three rivers of Asia.", "near-duplicate"),
        ("Say hello now", "length"),
        ("word " * 151, "length"),
        ("Describe what you see in the picture.", "beyond-text"),
        ("根据下面的图片写一个故事。", "beyond-text"),
        ("Write a program that sorts the numbers.", "beyond-text"),
        ("…and then something else entirely happens", "format"),
    ],
)
def test_each_filter_has_its_rule(line, rule):
    [outcome], _ = played(ONE, SEEDS[0], f"9. {line}")
    assert outcome.rejected_by == rule
    assert outcome.detail


def test_a_word_within_a_word_is_not_blocked():
    outcomes, _ = played(
        ONE, SEEDS[0], "9. Explain the term photography to a drawer of profiles.", "no", "Input:\nOutput: x"
    )
    assert outcomes[0].rejected_by is None


def test_of_two_alike_lines_the_first_is_kept():
    reply = "9. Count the vowels in the word.\n10. Count the vowels in the words."
    outcomes, _ = played(ONE, SEEDS[0], reply, "No", "Input: river\nOutput: 2")
    assert [o.rejected_by for o in outcomes] == [None, "near-duplicate"]
    assert "0.833, above 0.7, to line 1" in outcomes[1].detail


def test_a_list_that_was_cut_off_loses_its_last_line_only():
    cut = Completion("9. Count the vowels in the word.\n10. List the cou", finish_reason="length")
    outcomes, _ = played(ONE, SEEDS[0], cut, "No", "Input: river\nOutput: 2")
    assert len(outcomes) == 1
    assert outcomes[0].rejected_by is None


EXAMPLES = SelfInstruct(examples=5).among(SEEDS, [])


@pytest.mark.parametrize(
    "reply, rules",
    [
        ("Input: a\nOutput: 1\n\nInput: b\nOutput: 2", [None, None]),
        ("Input: a\nOutput: 1\n\nInput: a\nOutput: 2", ["contradiction", "contradiction"]),
        ("Input: same text\nOutput: same text", ["input-is-output"]),
        ("Input: a\nOutput: These are the steps:", ["format"]),
        ("Input: a\nOutput:", ["unreadable"]),
        ("The vowels are u and e.", ["unreadable"]),
        (Completion("Input: a\nOutput: 1\nInput: b\nOutput: 2", finish_reason="length"), [None]),
        (Completion("Input: a\nOutput: 1 and th", finish_reason="length"), ["truncated"]),
        ('```json\n{"input": "无", "output": "两个"}\n```', [None]),
    ],
)
def test_examples_are_kept_unless_something_is_wrong_with_them(reply, rules):
    outcomes, _ = played(EXAMPLES, SEEDS[0], "9. Count the vowels in the word.", "No", reply)
    assert [o.rejected_by for o in outcomes] == rules
    assert all(o.messages[-1].content for o in outcomes), "what can't be read is kept as it is"


@pytest.mark.parametrize(
    "reply, lines",
    [
        ("9. Name a river.\n\n10. Explain\n the tide.", ["Name a river.", "Explain the tide."]),
        ("9）说出一条河流。\n10）解释潮汐。", ["说出一条河流。", "解释潮汐。"]),
        ("**Task 9:** Name a river.\n**Task 10:** Name a sea.", ["Name a river.", "Name a sea."]),
        ('["Name a river.", "Name a sea."]', ["Name a river.", "Name a sea."]),
        ("- Name a river.\n- Name a sea.", ["Name a river.", "Name a sea."]),
        ("Here are some:\nName a river.\nName a sea.", ["Name a river.", "Name a sea."]),
        ("I'm sorry, I have no ideas left.", []),
        ("", []),
    ],
)
def test_lists_are_read_however_they_are_written(reply, lines):
    assert numbered_lines(reply) == lines


@pytest.mark.parametrize(
    "reply, examples",
    [
        ("Example 1\nInput: none\nOutput: a poem\nof two lines", [("", "a poem\nof two lines")]),
        ("**输入：** 苹果\n**输出：** 水果", [("苹果", "水果")]),
        ("Class label: positive\nInput: I love it", [("I love it", "positive")]),
        ('[{"output": "yes", "input": "a"}, {"output": "no", "input": "b"}]', [("a", "yes"), ("b", "no")]),
        ("Just an answer.", []),
    ],
)
def test_examples_are_read_however_they_are_written(reply, examples):
    assert worked_examples(reply) == examples


def test_the_known_ones_grow_by_what_earlier_rounds_made():
    later = ONE.among(
        SEEDS,
        [asked("Count the vowels in the word.\n\nriver", metadata={"instruction": "Count the vowels in the word."})],
    )
    [outcome], _ = played(later, SEEDS[0], "9. Count the vowels in the words.")
    assert outcome.rejected_by == "near-duplicate"


def test_lists_of_one_round_are_compared_with_each_other_and_the_first_keeps_its_instruction(tmp_path):
    corpus = SeededCorpus(tmp_path, SEEDS[:3])

    def reply(body, n):
        if "Go on with the list" in body["messages"][0]["content"]:
            return "9. Count the vowels in the words of this line.\n10. Count the vowels in these words."
        return "No" if "classification" in body["messages"][0]["content"] else "Input: river\nOutput: Two."

    with Loopback(reply) as server:
        report = synthesize(corpus, SelfInstruct(max_rouge=0.95), server.spec)
    assert (report.accepted, report.rejected) == (2, {"near-duplicate": 4})
    assert {o["detail"] for o in corpus.outcomes() if o["rejected_by"]} == {
        "ROUGE-L 1.000, above 0.95, to another list: Count the vowels in the words of this line.",
        "ROUGE-L 1.000, above 0.95, to another list: Count the vowels in these words.",
    }


def test_a_run_goes_on_with_what_it_made_and_a_repeated_run_asks_nobody(tmp_path):
    corpus = SeededCorpus(
        tmp_path, [asked(f"Seed instruction number {'abcdefghijkl'[n] * 3}.", "x") for n in range(12)]
    )

    def reply(body, n):
        text = body["messages"][0]["content"]
        if "Go on with the list" in text:
            return f"9. Give the meaning of w{n * n} v{n} u{n + 7} please."
        return "No" if "classification" in text else "Input:\nOutput: A meaning."

    with Loopback(reply) as server:
        report = synthesize(corpus, SelfInstruct(), server.spec)
        calls = server.requests
        again = synthesize(corpus, SelfInstruct(), server.spec)
        lists = [b["messages"][0]["content"] for b in server.bodies if "Go on with" in b["messages"][0]["content"]]
    assert (report.accepted + sum(report.rejected.values()), server.requests, again.calls) == (12, calls, 0)
    assert sum("Give the meaning" in text for text in lists) == 4, "the second round shows what the first one made"
    made = [o for o in corpus.outcomes() if o["rejected_by"] is None]
    assert all(len(o["parents"]) == 8 for o in made)
    assert all(json.loads(o["metadata"])["instruction"].startswith("Give") for o in made)
