from __future__ import annotations

import pytest

from synthesis.elimination import (
    EVOLUTION_RULES,
    first_violation,
    prompt_leak,
    refusal,
    same_text,
    unusable,
    word_count,
)

LONG = "The tide tables say when the harbour can be entered. " * 10


@pytest.mark.parametrize(
    "answer, rule",
    [
        ("I am sorry, I have no data about that.", "sorry"),
        ("很抱歉，这个问题我回答不了。", "sorry"),
        ("!!! ... ---", "only-stop-words"),
        ("It is what it is, and so on.", "only-stop-words"),
        ("是的，这个就是我们的。", "only-stop-words"),
        ("Understood. Which sorting algorithm would you like to see?", "stagnant-complexity"),
        ("Thank you for the details! Shall I begin?", "stagnant-complexity"),
        ("明白，需要我现在开始吗？", "stagnant-complexity"),
        ("Sure, which of the two tables do you mean?", "insufficient-qualification"),
        ("当然可以，您想要哪一种？", "insufficient-qualification"),
        ("Please provide the text that should be translated.", "loss-of-key-information"),
        ("请提供需要翻译的原文。", "loss-of-key-information"),
        ("Sorry seems to be the hardest word. " + LONG, None),
        ("Sure! Here are three reasons: cost, speed and noise.", None),
        ("Who let the dogs out? Nobody knows.", None),
        ("42", None),
        ("水在一百度时沸腾。", None),
    ],
)
def test_each_answer_is_rejected_by_its_rule(answer, rule):
    found = first_violation(answer, EVOLUTION_RULES)
    assert (found and found[0]) == rule


def test_an_apology_counts_below_80_words_only():
    sorry = "Sorry " + "word " * 78
    assert word_count(sorry) == 79
    assert first_violation(sorry, EVOLUTION_RULES) == ("sorry", "'Sorry' in 79 words")
    assert first_violation(sorry + "word", EVOLUTION_RULES) is None


def test_words_of_the_prompt_are_a_leak_unless_the_seed_sample_has_them():
    assert prompt_leak("Make the Given Prompt harder.", "Write a poem.") == "copies 'given prompt' from the prompt"
    assert prompt_leak("请按照给定的指令写诗。", "写一首诗。") is not None
    assert prompt_leak("Explain the term 'given prompt' in detail.", "Explain the term 'given prompt'.") is None


def test_equal_up_to_case_space_and_outer_punctuation_is_the_same_text():
    assert same_text("Write a poem!", "write  a poem")
    assert same_text("写一首诗。", "写一首诗")
    assert not same_text("x = -1", "x = 1")
    assert not same_text("C++", "C")
    assert not same_text("!", "?")


@pytest.mark.parametrize(
    "answer",
    [
        "I'm sorry, but I can't help with that.",
        "I cannot assist with this request.",
        "As an AI language model, I have no opinions.",
        "I’m unable to open links.",
        "对不起，我无法回答这个问题。",
        "作为一个人工智能语言模型，我没有感情。",
    ],
)
def test_refusals_are_seen(answer):
    assert refusal(answer)


def test_a_word_of_refusal_in_the_middle_is_none():
    assert refusal("The sign says: I cannot swim.") is None
    assert refusal("抱着孩子的人请先上车。") is None


def test_what_is_no_whole_text_is_unusable():
    assert unusable("half a sen", "length")[0] == "truncated"
    assert unusable(" \n", "stop")[0] == "empty"
    assert unusable("", "content_filter")[0] == "filtered"
    assert unusable("whole", "stop") is None
