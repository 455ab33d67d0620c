"""DEITA's scorers: the expected digit at the first position after the prompt."""

from __future__ import annotations

import functools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from curation.engines import checked
from curation.errors import ModelError
from curation.language_models.causal_lm import open_causal_lm
from curation.language_models.digit_scores import digit_ids, exchanges, expected_digit
from curation.operators import Pool
from curation.sample import Message, Sample, to_frame
from curation.scorers.deita_complexity import DeitaComplexity
from curation.scorers.deita_quality import DeitaQuality
from curation.selectors.deita import Deita
from tests.curation.samples import pair
from tests.data import shared

PAIRS = [
    pair("Name three colours.", "Red, green and blue."),
    pair("Return {braces}.", "{}"),
    pair("天空是什么颜色？" * 3, "天空是蓝色的。"),
    pair("Explain how a steam engine turns heat into motion, and why it wastes most of it.", "It boils water."),
]
COMPLEXITY = "You are a helpful assistant. Please identify the complexity score of the following user query. \n##Query: {}  \n##Complexity: "  # noqa: E501
QUALITY = "You are a helpful assistant. Please identify the quality score of the Response corresponding to the Question. \n #Question#:\n{}\n#Response#:\n{} \n##Quality: "  # noqa: E501


@pytest.fixture(scope="module")
def model() -> str:
    return str(shared("reference/tiny_causal_lm"))


@functools.cache
def loaded(path: str) -> tuple[Any, Any]:
    return AutoModelForCausalLM.from_pretrained(path).eval(), AutoTokenizer.from_pretrained(path)


def by_hand(path: str, prompt: str) -> float:
    """One row, one forward pass, the whole vocabulary, then the six."""
    model, tokenizer = loaded(path)
    ids = [tokenizer.encode(digit, add_special_tokens=False) for digit in "123456"]
    assert all(len(one) == 1 for one in ids)
    with torch.no_grad():
        logits = model(tokenizer(prompt, return_tensors="pt")["input_ids"]).logits[0, -1]
    shares = [math.exp(logits[one[0]]) for one in ids]
    return sum(k * share for k, share in enumerate(shares, 1)) / sum(shares)


def test_the_expected_digit_of_given_logits_by_hand():
    shares = np.array([[0.1, 0.2, 0.3, 0.2, 0.1, 0.1], [1, 1, 1, 1, 1, 1], [1e-9, 1e-9, 1e-9, 1e-9, 1e-9, 1]])
    logits = np.log(shares) + 300  # a softmax does not care
    assert expected_digit(logits) == pytest.approx([0.1 + 0.4 + 0.9 + 0.8 + 0.5 + 0.6, 3.5, 6], abs=1e-6)


def test_trap_08_deita_scorer_batches_equal_single_rows_whatever_the_padding(model):
    batch = to_frame(PAIRS)
    complexity = DeitaComplexity(model=model).score(batch)
    quality = DeitaQuality(model=model).score(batch)
    for sample, c, q in zip(PAIRS, complexity["deita_complexity"], quality["deita_quality"], strict=True):
        assert c == pytest.approx(by_hand(model, COMPLEXITY.format(sample.instruction)), abs=1e-5)
        assert q == pytest.approx(by_hand(model, QUALITY.format(sample.instruction, sample.response)), abs=1e-5)
    assert complexity["deita_complexity_turns"].to_list() == [[c] for c in complexity["deita_complexity"]]
    alone = DeitaQuality(model=model, batch_tokens=1).score(batch)["deita_quality"].to_list()
    assert alone == pytest.approx(quality["deita_quality"].to_list(), abs=1e-5)


def test_trap_08_deita_scorer_trailing_space_is_part_of_the_prompt(model):
    with_space = by_hand(model, COMPLEXITY.format("Name three colours."))
    without = by_hand(model, COMPLEXITY.format("Name three colours.").rstrip(" "))
    assert abs(with_space - without) > 1e-3
    found = DeitaComplexity(model=model).score(to_frame(PAIRS[:1]))["deita_complexity"][0]
    assert found == pytest.approx(with_space, abs=1e-5)


def test_trap_08_deita_scorer_reads_raw_logits_whatever_the_generation_settings(model, tmp_path):
    lm, tokenizer = loaded(model)
    lm.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    sampled = {"do_sample": True, "temperature": 0.1, "top_p": 0.2, "top_k": 2}
    (tmp_path / "generation_config.json").write_text(json.dumps(sampled))
    warped, plain = (DeitaComplexity(model=str(p)).score(to_frame(PAIRS)) for p in (tmp_path, model))
    assert warped.equals(plain)


def scorer_of(folder: Path, words: list[str], window: int = 128) -> str:
    """A random Llama with a tokenizer of whole words, spaces and single characters."""
    known = [" ", *words, *(chr(i) for i in range(33, 127) if not chr(i).isdigit()), "\n", "?"]
    vocabulary = {word: i for i, word in enumerate(dict.fromkeys(known))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.decoder = decoders.Fuse()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="?").save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=window,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return str(folder)


def test_trap_08_deita_scorer_six_ids_are_looked_up_and_validated_as_single_tokens(model, tmp_path):
    lm = open_causal_lm(scorer_of(tmp_path / "six", list("123456"), window=300))
    assert digit_ids(lm, "Score: ") == [lm.tokenizer.convert_tokens_to_ids(k) for k in "123456"]
    # 'Ġ1' is one token of this tokenizer, but the prompt has already ended with its space.
    real = open_causal_lm(model)
    assert digit_ids(real, "Score: ") == [real.tokenizer.convert_tokens_to_ids(k) for k in "123456"]

    five = scorer_of(tmp_path / "five", list("12345"))
    with pytest.raises(ModelError, match="writes '6' after the prompt") as error:
        DeitaComplexity(model=five).score(to_frame(PAIRS))
    assert len(str(error.value).split("\n")) == 2


def test_trap_08_deita_scorer_missing_logprob_is_null_never_3(tmp_path):
    short = scorer_of(tmp_path / "short", list("123456"), window=160)
    samples = [pair("Hi", "Ho"), pair("Name three colours of the rainbow, and say why.", "Red"), pair("", "")]
    found = checked(DeitaComplexity(model=short), to_frame(samples))
    assert 1 < found["deita_complexity"][0] < 6
    assert found["deita_complexity"].to_list()[1:] == [None, None]
    assert found["deita_complexity_turns"].to_list()[1:] == [[None], [None]]
    assert found["reason"].to_list() == [
        None,
        "a turn does not fit in the window of 160 tokens",
        "the instruction is empty",
    ]
    assert np.isnan(expected_digit(np.array([[0, 0, 0, 0, 0, np.nan], [0, 0, 0, 0, 0, -np.inf]]))).all()


TALK = Sample(
    (
        Message("system", "Be brief."),
        Message("user", "Sky?"),
        Message("assistant", "Blue."),
        Message("user", "Grass?"),
        Message("user", "And snow?"),
        Message("assistant", "Green and white."),
        Message("user", "Thanks."),
    )
)


def test_trap_06_multi_turn_has_per_turn_scores_and_sum_or_mean_is_explicit(model):
    batch = to_frame([TALK, PAIRS[0]])
    complexity, quality = DeitaComplexity(model=model).score(batch), DeitaQuality(model=model).score(batch)
    turns = complexity["deita_complexity_turns"][0].to_list()
    assert turns == pytest.approx([by_hand(model, COMPLEXITY.format(q)) for q in ("Sky?", "Grass?\n\nAnd snow?")])
    assert complexity["deita_complexity"][0] == pytest.approx(sum(turns) / 2)
    answers = [("Sky?", "Blue."), ("Grass?\n\nAnd snow?", "Green and white.")]
    found = quality["deita_quality_turns"][0].to_list()
    assert found == pytest.approx([by_hand(model, QUALITY.format(*one)) for one in answers])

    frame = pl.concat(
        [batch.select("id", "source"), complexity.drop("reason"), quality.drop("reason")], how="horizontal"
    )
    order = frame["id"].arg_sort()
    pool = Pool(frame[order], np.eye(2, dtype=np.float32))
    assert Deita(aggregate="sum").select(pool, 1).ids == [TALK.id]  # two turns count twice
    means = [np.mean(np.multiply(*row)) for row in frame.select("^deita_.*_turns$").iter_rows()]
    assert Deita(aggregate="mean").select(pool, 1).ids == [frame["id"][int(np.argmax(means))]]


def test_questions_without_an_answer_have_a_complexity_but_no_quality(model):
    asked = [{"role": "user", "content": "Sky?"}]
    assert exchanges(asked, "Sky?", "") == [("Sky?", "")]
    batch = to_frame([Sample((Message("user", "Sky?"),)), Sample((Message("assistant", "A text."),))])
    assert DeitaComplexity(model=model).score(batch)["reason"].to_list() == [None, "the instruction is empty"]
    assert DeitaQuality(model=model).score(batch).rows() == [
        (None, [None], "the answer is empty"),
        (None, [], "the answer is empty"),
    ]
    assert DeitaQuality(model=model).score(to_frame([])).shape == (0, 3)
