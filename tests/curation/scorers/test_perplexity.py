from __future__ import annotations

import functools
import math
from typing import Any

import pytest
import torch

from curation.language_models.causal_lm import load
from curation.sample import Message, Sample, to_frame
from curation.scorers.perplexity import Perplexity
from tests.data import shared

SAMPLES = [
    Sample((Message("user", "Name three colours."), Message("assistant", "Red, green and blue."))),
    Sample((Message("user", "a"), Message("assistant", "a"))),
    Sample((Message("user", "Sky?"), Message("assistant", ""))),
    Sample(
        (
            Message("user", "Sky?"),
            Message("assistant", "Blue."),
            Message("user", "Grass?"),
            Message("assistant", "Green."),
        )
    ),
]


@pytest.fixture(scope="module")
def model() -> str:
    return str(shared("reference/tiny_causal_lm"))


@functools.cache
def loaded(path: str) -> tuple[Any, Any]:
    return load(path, device="cpu")


def by_hand(model: str, prefix: str, text: str) -> float:
    """exp of the cross-entropy that the model gives itself, labels on the text alone."""
    lm, tokenizer = loaded(model)
    ids = tokenizer(prefix + text, add_special_tokens=False, return_tensors="pt")["input_ids"]
    labels = ids.clone()
    labels[0, : len(tokenizer(prefix, add_special_tokens=False)["input_ids"])] = -100
    with torch.no_grad():
        return math.exp(lm(ids, labels=labels).loss)


def test_the_three_perplexities_equal_those_of_the_model_itself(model):
    row = Perplexity(model=model).score(to_frame(SAMPLES)).row(0, named=True)
    question, answer = "Name three colours.", "Red, green and blue."
    assert row["perplexity"] == pytest.approx(by_hand(model, f"{question}\n", answer), rel=1e-5)
    assert row["perplexity_answer_alone"] == pytest.approx(by_hand(model, "", answer), rel=1e-5)
    assert row["perplexity_instruction"] == pytest.approx(by_hand(model, "", question), rel=1e-5)
    assert row["reason"] is None


def test_of_several_turns_the_last_answer_is_scored(model):
    row = Perplexity(model=model).score(to_frame(SAMPLES)).row(3, named=True)
    before = "User: Sky?\n\nAssistant: Blue.\n\nUser: Grass?"
    assert row["perplexity"] == pytest.approx(by_hand(model, f"{before}\n", "Green."), rel=1e-5)
    assert row["perplexity_instruction"] == pytest.approx(by_hand(model, "", before), rel=1e-5)


def test_a_token_that_nothing_comes_before_has_no_perplexity(model):
    scores = Perplexity(model=model).score(to_frame(SAMPLES))
    one, empty = scores.row(1), scores.row(2)
    assert one[0] is not None
    assert one[1:] == (None, None, None)
    assert (empty[0], empty[1], empty[3]) == (None, None, "the answer is empty")


def test_what_does_not_fit_is_null_and_the_rest_is_measured(model):
    long = Sample((Message("user", "colour " * 60), Message("assistant", "Red, green and blue.")))
    row = Perplexity(model=model, max_tokens=40).score(to_frame([long])).row(0)
    assert (row[0], row[2], row[3]) == (None, None, "the prompt alone fills the window of 40 tokens")
    assert row[1] is not None


def test_what_a_model_was_trained_on_is_less_novel_to_it_than_noise(model):
    known = Sample((Message("user", "What is the capital of France?"), Message("assistant", "Paris")))
    noise = Sample((Message("user", "What is the capital of France?"), Message("assistant", "zq xv 7 ## kjh")))
    found = Perplexity(model=model, template="chatml").score(to_frame([known, noise]))["perplexity"]
    assert found[0] < found[1]
