"""What a model thought, apart from what it answered, in all the ways in which servers mix the two up."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.language_models.completions import completion_of, split_reasoning, why_unanswered
from curation.language_models.models import Completion
from curation.language_models.thoughts import parted

CHANNELS = "<|channel|>analysis<|message|>six times seven<|end|><|start|>assistant<|channel|>final<|message|>42"
TWO_THOUGHTS = (
    "<|channel|>analysis<|message|>six<|end|><|start|>assistant<|channel|>commentary<|message|>seven<|end|>"
    "<|start|>assistant<|channel|>final<|message|>42<|return|>"
)
CODE = "Put it in the template:\n\n```\n<think>\n{thoughts}\n</think>\n```\n\nand close it with `</think>`."


def of(message: dict, finish_reason: str = "stop") -> Completion:
    return completion_of({"choices": [{"message": message, "finish_reason": finish_reason}]})


VARIANTS = {
    "a block before the answer": ("<think>six times seven</think>\n\n42", "42", "six times seven"),
    "closed only: the template opened it": ("six times seven\n</think>\n\n42", "42", "six times seven"),
    "closed only, on one line": ("six times seven.</think> 42", "42", "six times seven."),
    "never closed": ("<think>six times se", "", "six times se"),
    "closed and opened again without an end": ("<think>six</think>\n<think>sev", "", "six\n\nsev"),
    "closed twice": ("<think>six</think>seven</think>42", "42", "six\n\nseven"),
    "closed at once": ("<think>\n\n</think>\n\n42", "42", None),
    "nested": ("<think>six <think>times</think> seven</think>42", "42", "six times seven"),
    "an opening tag within the thought": ("<think>what is <think> for?</think>42", "42", "what is  for?"),
    "several blocks": ("<think>six</think>4<think>seven</think>2", "42", "six\n\nseven"),
    "several blocks on lines": ("<think>six</think>4\n<think>seven</think>\n2", "4\n\n2", "six\n\nseven"),
    "upper case": ("<THINK>six</Think>42", "42", "six"),
    "blanks and attributes": ('\n <think type="long">six</ think >\t42', "42", "six"),
    "<thinking>": ("<thinking>\nsix\n</thinking>\n42", "42", "six"),
    "<thought>": ("<thought>six</thought>42", "42", "six"),
    "<reasoning>": ("<reasoning>six</reasoning>42", "42", "six"),
    "Kimi": ("◁think▷六乘七◁/think▷四十二", "四十二", "六乘七"),
    "Magistral": ("[THINK]six[/THINK]42", "42", "six"),
    "Seed": ("<seed:think>six</seed:think>42", "42", "six"),
    "Sky-T1": (
        "<|begin_of_thought|>six<|end_of_thought|>\n\n<|begin_of_solution|>42<|end_of_solution|>",
        "42",
        "six",
    ),
    "channels": (CHANNELS, "42", "six times seven"),
    "channels, the first one opened by the template": (CHANNELS[30:], "42", "six times seven"),
    "three channels": (TWO_THOUGHTS, "42", "six\n\nseven"),
    "channels without a final one": ("<|channel|>analysis<|message|>six times se", "", "six times se"),
    "channels whose marks were stripped": ("analysisSix times seven.assistantfinal42", "42", "Six times seven."),
    "text before the block": ("Let me see.\n<think>six</think>\n42", "Let me see.\n\n42", "six"),
    "code in the thought": ("<think>```\nsix\n```</think>```\n42\n```", "```\n42\n```", "```\nsix\n```"),
    "a fence that the thought left open": ("<think>\n```\nsix\n</think>\n```\n42\n```", "```\n42\n```", "```\nsix"),
    "the tag quoted within the thought": ("<think>not `</think>` yet</think>42", "42", "not `</think>` yet"),
    "tags in the code of an answer": (CODE, CODE, None),
    "a tag that the answer mentions": ("The tag </think> ends it.", "The tag </think> ends it.", None),
    "an opening tag in a sentence": ("Write <think> and go on.", "Write <think> and go on.", None),
    "a pair of tags in a sentence": ("Put <think>a</think> first.", "Put <think>a</think> first.", None),
    "no tags": ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2", None),
    "a word that begins like a stripped channel": ("analysis of finals: 42", "analysis of finals: 42", None),
    "nothing": ("", "", None),
}


@pytest.mark.parametrize("content, text, reasoning", VARIANTS.values(), ids=VARIANTS)
def test_reasoning_is_told_from_the_answer(content, text, reasoning):
    completion = of({"content": content})
    assert (completion.text, completion.reasoning) == (text, reasoning)


FIELDS = {
    "vllm": ({"content": "42", "reasoning": "six"}, "42", "six"),
    "deepseek": ({"content": "42", "reasoning_content": "six\n"}, "42", "six"),
    "both names": ({"content": "42", "reasoning": "six", "reasoning_content": "six"}, "42", "six"),
    "a field and the same in tags": ({"content": "<think>six</think>42", "reasoning": "six"}, "42", "six"),
    "a field and more in tags": ({"content": "<think>seven</think>42", "reasoning": "six"}, "42", "six\n\nseven"),
    "a field, and the closing tag left behind": ({"content": "</think>\n42", "reasoning": "six"}, "42", "six"),
    "no content": ({"content": None, "reasoning": "six"}, "", "six"),
    "empty content": ({"content": "", "reasoning_content": "six"}, "", "six"),
    "no content field at all": ({"reasoning_content": "six"}, "", "six"),
    "empty reasoning": ({"content": "42", "reasoning": "", "reasoning_content": None}, "42", None),
    "parts": ({"content": [{"type": "text", "text": "4"}, {"type": "text", "text": "2"}]}, "42", None),
    "a part that thinks": (
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "six"}]}, {"text": "42"}]},
        "42",
        "six",
    ),
    "openrouter": (
        {"content": "42", "reasoning_details": [{"type": "reasoning.text", "text": "six"}, {"type": "x", "data": "a"}]},
        "42",
        "six",
    ),
    "a refusal in its own field": ({"content": None, "refusal": "I can't help."}, "I can't help.", None),
}


@pytest.mark.parametrize("message, text, reasoning", FIELDS.values(), ids=FIELDS)
def test_reasoning_is_read_from_its_own_field_and_nothing_is_kept_twice(message, text, reasoning):
    completion = of(message)
    assert (completion.text, completion.reasoning) == (text, reasoning)


def test_a_thought_in_a_later_turn_is_read_as_in_the_first():
    turns = [of({"content": f"<think>thought {n}</think>answer {n}"}) for n in range(3)]
    assert [(t.text, t.reasoning) for t in turns] == [(f"answer {n}", f"thought {n}") for n in range(3)]


def test_a_raw_text_of_completions_is_split_too():
    assert completion_of({"choices": [{"text": "six</think>42", "finish_reason": "stop"}]}).reasoning == "six"


TOKENS = ["<think>", "</think>", "<THINKING>", "</thinking>", "◁think▷", "◁/think▷", "[THINK]", "[/THINK]", "`", "\n"]
TAGS = re.compile(r"</?think(?:ing)?>|◁/?think▷|\[/?THINK\]|\s", re.IGNORECASE)


@settings(max_examples=120, deadline=None)
@given(st.lists(st.sampled_from([*TOKENS, "```\n", " ", "word", "字", ".", "a b"]), max_size=14).map("".join))
def test_answer_and_reasoning_hold_every_character_but_the_tags(content):
    text, reasoning = split_reasoning(content)
    assert Counter(TAGS.sub("", text + (reasoning or ""))) == Counter(TAGS.sub("", content))


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="ab\n .字", max_size=30))
def test_what_has_no_tags_stays_as_it_is(content):
    assert parted(content) == (content.strip(), None, False)


@pytest.mark.parametrize(
    "completion, reason",
    [
        (Completion("", "six", "length"), "thinking took all the tokens before the answer began"),
        (Completion("  ", None, "length"), "the tokens were used up before the answer began"),
        (Completion("", "six", "stop"), "it thought and gave no answer"),
        (Completion("", None, "content_filter"), "content filter"),
        (Completion("", None, "stop"), "the answer is empty"),
        (Completion(None, error="broken"), "broken"),
    ],
)
def test_an_answer_that_is_missing_has_a_reason(completion, reason):
    assert reason in why_unanswered(completion)


def test_an_answer_that_is_there_needs_no_reason():
    assert why_unanswered(Completion("42", "six", "length")) is None


def test_a_synthesis_says_that_thinking_took_all_the_tokens():
    from synthesis.elimination import unusable

    completion = of({"content": "<think>six times se"}, "length")
    assert unusable(completion.text or "", completion.finish_reason) == ("truncated", THOUGHT_ALL)


THOUGHT_ALL = "thinking took all the tokens before the answer: raise max_tokens or let it think less"
