from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
)

from curation.engines import checked
from curation.errors import ModelError, OperatorError
from curation.sample import Message, Sample, to_frame
from curation.scorers.reward import Reward
from tests.curation.samples import pair
from tests.data import shared

SAMPLES = [
    pair("Name a colour.", "Red.", rejected=(Message("assistant", "I will not, and here is a long reason for it."),)),
    pair("What is 1 + 1?", "It is 2, of course, as everybody knows."),
    pair("Say nothing.", ""),
    Sample(
        (
            Message("user", "Sky?"),
            Message("assistant", "Blue."),
            Message("user", "Grass?"),
            Message("assistant", "Green."),
        ),
        rejected=(Message("assistant", "Red."), Message("user", "Grass?"), Message("assistant", "Pink.")),
    ),
]


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A random Llama with one output, and a tokenizer with a chat template; the model names no padding token."""
    folder = tmp_path_factory.mktemp("models") / "decoder"
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=4096, hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=256, num_labels=1, pad_token_id=None,
    )  # fmt: skip
    LlamaForSequenceClassification(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(shared("reference/tiny_causal_lm")).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A random Bert with two outputs, and a tokenizer without a chat template."""
    folder = tmp_path_factory.mktemp("models") / "encoder"
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=4096, hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=64, pad_token_id=3, id2label={0: "bad", 1: "good"}, initializer_range=0.2,
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(shared("reference/tiny_causal_lm"))
    tokenizer.chat_template = None
    tokenizer.save_pretrained(folder)
    return str(folder)


@functools.cache
def loaded(path: str) -> tuple[Any, Any]:
    return AutoModelForSequenceClassification.from_pretrained(path).eval(), AutoTokenizer.from_pretrained(path)


def by_hand(path: str, *texts: str, label: int = 0, special: bool = True) -> float:
    model, tokenizer = loaded(path)
    with torch.no_grad():
        given = tokenizer(*texts, return_tensors="pt", add_special_tokens=special)
        return float(model(input_ids=given["input_ids"]).logits[0, label])


def chat(*turns: str) -> str:
    roles = ["user", "assistant"] * len(turns)
    return "".join(f"<|im_start|>{role}\n{turn}<|im_end|>\n" for role, turn in zip(roles, turns, strict=False))


def test_a_batch_in_the_chat_template_equals_one_conversation_at_a_time(decoder):
    found = checked(Reward(model=decoder), to_frame(SAMPLES)).drop("id")

    good = by_hand(decoder, chat("Name a colour.", "Red."))
    bad = by_hand(decoder, chat("Name a colour.", "I will not, and here is a long reason for it."))
    assert found.row(0)[:3] == pytest.approx((good, bad, good - bad), abs=1e-5)
    assert found.row(1)[0] == pytest.approx(
        by_hand(decoder, chat("What is 1 + 1?", "It is 2, of course, as everybody knows.")), abs=1e-5
    )
    assert found.row(1)[1:] == (None, None, None)
    assert found.row(2) == (None, None, None, "the answer is empty")
    alone = Reward(model=decoder, batch_tokens=1).score(to_frame(SAMPLES))
    assert alone["reward"].to_list()[:2] == pytest.approx(found["reward"].to_list()[:2], abs=1e-5)


def test_a_rejected_side_that_goes_on_over_several_turns_follows_the_common_prompt(decoder):
    row = Reward(model=decoder).score(to_frame(SAMPLES)).row(3)
    assert row[0] == pytest.approx(by_hand(decoder, chat("Sky?", "Blue.", "Grass?", "Green.")), abs=1e-5)
    assert row[1] == pytest.approx(by_hand(decoder, chat("Sky?", "Red.", "Grass?", "Pink.")), abs=1e-5)


def test_where_the_common_prompt_can_not_be_told_the_rejected_side_is_null_and_says_why(decoder):
    asks, answers = (lambda text: Message("user", text)), (lambda text: Message("assistant", text))
    sample = Sample(
        (asks("Sky?"), answers("Blue."), asks("Grass?"), answers("Green.")),
        rejected=(answers("Red."), asks("Sea?"), answers("Pink."), asks("Sand?"), answers("Grey.")),
    )
    row = Reward(model=decoder).score(to_frame([sample])).row(0)
    assert row[0] == pytest.approx(by_hand(decoder, chat("Sky?", "Blue.", "Grass?", "Green.")), abs=1e-5)
    assert row[1:3] == (None, None)
    assert row[3] == (
        "of the answer that was not preferred: its chosen and rejected turns can't be told apart from the prompt"
    )


def test_without_a_chat_template_question_and_answer_are_a_pair_and_of_two_labels_one_is_named(encoder):
    found = Reward(model=encoder, label="Good").score(to_frame(SAMPLES))
    assert found["reward"][0] == pytest.approx(by_hand(encoder, "Name a colour.", "Red.", label=1), abs=1e-5)
    bad = Reward(model=encoder, label="bad").score(to_frame(SAMPLES))
    assert abs(bad["reward"][0] - found["reward"][0]) > 1e-4
    with pytest.raises(ModelError, match="has 2 labels") as error:
        Reward(model=encoder).score(to_frame(SAMPLES))
    assert error.value.fix == "name one: --set label=bad|good"


def test_what_does_not_fit_is_null_and_a_template_that_refuses_a_conversation_is_a_reason(decoder, tmp_path):
    long = [pair("Name a colour.", "Red. " * 200), *SAMPLES[1:2]]
    found = Reward(model=decoder).score(to_frame(long))
    assert found["reason"].to_list() == ["it does not fit in the window of 256 tokens", None]
    with pytest.raises(OperatorError, match="max_tokens is 999, but the model sees only 256"):
        Reward(model=decoder, max_tokens=999).score(to_frame(long))

    model, tokenizer = loaded(decoder)[0], copy.deepcopy(loaded(decoder)[1])
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}{{ raise_exception('no') }}"
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    refused = Reward(model=str(tmp_path)).score(to_frame(SAMPLES[:1]))
    assert refused.row(0) == (None, None, None, "the model's chat template does not take such a conversation")


def test_a_causal_language_model_is_not_taken_for_a_reward_model(tmp_path: Path):
    with pytest.raises(ModelError, match="names LlamaForCausalLM") as error:
        Reward(model=str(shared("reference/tiny_causal_lm"))).score(to_frame(SAMPLES))
    assert len(str(error.value).split("\n")) == 2
    with pytest.raises(ModelError, match="no model folder"):
        Reward(model=f"hf:{tmp_path}/absent").fingerprint()
