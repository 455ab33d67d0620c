from __future__ import annotations

import random
import re

import pytest
from pydantic import ValidationError

from curation.errors import OperatorError
from curation.language_models.models import Completion
from curation.operators import build
from curation.sample import Message, Sample
from synthesis.evol_instruct import OPERATIONS, EvolInstruct, evolved_text, evolving, verdict
from synthesis.prompting import BUILT_IN
from synthesis.synthesizers import SYNTHESIZERS
from tests.synthesis.samples import asked
from tests.synthesis.scripted import played

POEM = asked("Write a poem about rain.")
HARDER = "Write a poem about rain in which no line has more than five words."
VERSES = "Grey drops on the roof,\nthe gutter hums all night,\nmorning smells of wet stone."


def test_a_good_evolution_is_accepted_with_its_answer():
    [outcome], calls = played(EvolInstruct(), POEM, HARDER, "Not Equal", VERSES)
    assert outcome.messages == (Message("user", HARDER), Message("assistant", VERSES))
    assert outcome.rejected_by is None
    assert [call.step for call in calls] == ["evolve", "judge", "answer"]
    assert calls[0].request.parameters == {"temperature": 1.0, "top_p": 0.9, "max_tokens": 2048}


@pytest.mark.parametrize(
    "completions, rule",
    [
        ([HARDER, "Equal"], "no-information-gain"),
        (["write a poem about rain"], "no-information-gain"),
        (["#Rewritten Prompt#: Write a long poem."], "prompt-leak"),
        ([""], "empty"),
        ([Completion("Write a po", finish_reason="length")], "truncated"),
        ([HARDER, "Not Equal", "I'm sorry, I don't write poems."], "sorry"),
        ([HARDER, "Not Equal", "..."], "only-stop-words"),
        ([HARDER, "Not Equal", "Thank you! What kind of poem?"], "stagnant-complexity"),
        ([HARDER, "Not Equal", "Sure, how long should it be?"], "insufficient-qualification"),
        ([HARDER, "Not Equal", "Please provide a first line."], "loss-of-key-information"),
        ([HARDER, "Not Equal", Completion("Grey dr", finish_reason="length")], "truncated"),
    ],
)
def test_each_way_to_fail_has_its_rule(completions, rule):
    [outcome], _ = played(EvolInstruct(), POEM, *completions)
    assert outcome.rejected_by == rule
    assert outcome.detail


def test_the_judge_can_be_left_out():
    [outcome], calls = played(EvolInstruct(judge_gain=False), POEM, HARDER, VERSES)
    assert ([call.step for call in calls], outcome.rejected_by) == (["evolve", "answer"], None)


def test_a_failed_round_leaves_the_instruction_and_asks_for_another_answer():
    two_rounds = EvolInstruct(rounds=2, operations=("deepen",))
    (first, second), calls = played(two_rounds, POEM, HARDER, "Equal", HARDER, "Not Equal", VERSES)
    assert (first.rejected_by, second.rejected_by) == ("no-information-gain", None)
    assert calls[0].request.messages == calls[2].request.messages
    assert (calls[0].request.sample_index, calls[2].request.sample_index) == (0, 1)


def test_the_next_round_evolves_what_the_last_one_made():
    _, calls = played(EvolInstruct(rounds=2), POEM, HARDER, "Not Equal", VERSES, "Even harder.", "Not Equal", VERSES)
    assert HARDER in calls[3].request.messages[0][1]


def test_the_system_turn_stays_with_the_new_sample():
    pirate = Sample((Message("system", "You are a pirate."), *POEM.messages))
    [outcome], calls = played(EvolInstruct(), pirate, HARDER, "Not Equal", VERSES)
    assert outcome.messages[0] == Message("system", "You are a pirate.")
    assert calls[2].request.messages == (("system", "You are a pirate."), ("user", HARDER))


def test_a_conversation_is_no_seed_sample():
    turns = (Message("user", "Hi"), Message("assistant", "Hello"), Message("user", "Tell me more"))
    assert not EvolInstruct().suits(Sample(turns))
    assert EvolInstruct().suits(POEM)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_prompt_is_filled_and_asks_to_keep_the_language(operation):
    text = evolving(BUILT_IN, operation, "写一首关于雨的诗，写到{{时间}}。", 20, random.Random(0))
    assert "a Chinese instruction" in text
    assert "写一首关于雨的诗，写到{{时间}}。" in text
    assert re.findall(r"\{\{\w+\}\}", text.replace("{{时间}}", "")) == []
    assert operation == "in_breadth" or "10 to 20 words" in text


def test_every_operation_is_drawn_about_equally_often():
    drawn = [EvolInstruct().random_state(asked(f"Question {n}"), 0).choice(OPERATIONS) for n in range(600)]
    assert {drawn.count(operation) for operation in OPERATIONS} <= set(range(70, 131))


def test_a_repeated_heading_and_quotation_marks_are_no_part_of_the_instruction():
    assert evolved_text("#Rewritten Instruction#\nName three rivers.") == "Name three rivers."
    assert evolved_text("“请说出三条河流。”") == "请说出三条河流。"
    assert evolved_text('Explain "rain" and "snow"') == 'Explain "rain" and "snow"'


@pytest.mark.parametrize(
    "reply, meaning",
    [
        ("Equal", "equal"),
        ("Not Equal.", "not equal"),
        ("**Not Equal**", "not equal"),
        ("不相等", "not equal"),
        ("相等。", "equal"),
        ("They differ in depth.", "unclear"),
    ],
)
def test_verdicts_are_read(reply, meaning):
    assert verdict(reply) == meaning


def test_operations_are_given_as_a_list_or_with_commas():
    by_text = build("synthesizer", SYNTHESIZERS, "evol-instruct", {"operations": "deepen, in_breadth", "rounds": "2"})
    assert by_text == EvolInstruct(operations=("deepen", "in_breadth"), rounds=2)
    with pytest.raises(OperatorError, match="operations"):
        build("synthesizer", SYNTHESIZERS, "evol-instruct", {"operations": "deepest"})


REQUIRED = {"textbook": {"topics": "topics.txt"}, "on-policy-pairs": {"run": "first"}}


@pytest.mark.parametrize("kind", SYNTHESIZERS)
def test_the_spec_names_version_and_prompts_and_rebuilds_the_synthesizer(kind):
    made = kind(**REQUIRED.get(kind.name, {}))
    spec = made.spec()
    assert set(spec) == {"name", "parameters", "version", "prompts"}
    assert set(spec["prompts"]) == set(kind.prompts)
    assert build("synthesizer", SYNTHESIZERS, spec["name"], spec["parameters"]) == made


EASIER = "Write a line about rain."


def test_evolution_goes_down_only_where_it_is_asked_to():
    assert "easier" not in EvolInstruct().operations
    [outcome], calls = played(EvolInstruct(operations="easier"), POEM, EASIER, "Not Equal", VERSES)
    assert "easier" in calls[0].request.messages[0][1]
    assert (outcome.rejected_by, outcome.metadata["operation"]) == (None, "easier")
    [outcome], _ = played(EvolInstruct(operations="easier"), POEM, EASIER, "Equal")
    assert outcome.rejected_by == "no-information-gain"


def test_every_outcome_says_what_its_evolution_did():
    (first, second), _ = played(
        EvolInstruct(rounds=2, operations="deepen"),
        POEM,
        HARDER,
        "Not Equal",
        VERSES,
        "又一首诗？",
        "They differ.",
        VERSES,
    )
    assert first.metadata == {"operation": "deepen", "round": 1, "added_words": 9, "verdict": "not equal"}
    assert second.metadata["given"] == HARDER
    assert (second.metadata["verdict"], second.metadata["verdict_said"]) == ("unclear", "They differ.")


def test_only_what_is_within_reach_is_a_seed_sample():
    assert EvolInstruct().seed_condition == "instruction <> ''"
    band = EvolInstruct(reach="pass_rate", reach_min=0.1, reach_max=0.9)
    assert band.seed_condition == 'instruction <> \'\' AND "pass_rate" >= 0.1 AND "pass_rate" <= 0.9'
    assert EvolInstruct(reach="ifd").seed_condition == "instruction <> '' AND \"ifd\" IS NOT NULL"
    with pytest.raises(ValidationError, match="above reach_max"):
        EvolInstruct(reach="ifd", reach_min=1, reach_max=0)
