from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from curation.errors import CorpusError
from curation.warm_up import WarmUpSettings, warm_up

SMALL = WarmUpSettings(token_budget=4_000, layers=2, hidden=64, row_tokens=32, batch_rows=4, checkpoint_steps=7)


def turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


CONVERSATIONS = [
    [turn("user", f"What is {a} plus {b}?"), turn("assistant", f"{a} plus {b} is {a + b}.")]
    for a in range(9)
    for b in range(9)
] + [[turn("user", f"{n}加一等于几？"), turn("assistant", f"{n}加一等于{n + 1}。")] for n in range(30)]


class KilledError(Exception):
    pass


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("warm") / "models" / "warm-up"
    return folder, warm_up(CONVERSATIONS, folder, settings=SMALL)


def test_a_small_corpus_lowers_the_held_out_loss(model):
    _, report = model
    assert report.trained
    assert report.steps == 4_000 // 128
    assert report.tokens == report.steps * 128
    assert 256 < report.vocabulary <= 512
    assert report.held_out_loss_after < report.held_out_loss_before - 0.5


def test_transformers_loads_it_and_the_template_marks_answers_with_their_end(model):
    folder, report = model
    tokenizer = AutoTokenizer.from_pretrained(folder)
    lm = AutoModelForCausalLM.from_pretrained(folder)
    encoded = tokenizer.apply_chat_template(
        CONVERSATIONS[0], return_dict=True, return_assistant_tokens_mask=True, tokenize=True
    )
    marked = [i for i, m in zip(encoded["input_ids"], encoded["assistant_masks"], strict=True) if m]
    assert tokenizer.decode(marked) == "0 plus 0 is 0.<|im_end|>"
    assert tokenizer.decode(tokenizer("你好")["input_ids"]) == "你好"
    assert sum(p.numel() for p in lm.parameters()) == report.parameters
    assert lm.generation_config.eos_token_id == tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert {"<|im_start|>", "<|im_end|>"} <= set(tokenizer.all_special_tokens)


def test_a_second_run_trains_nothing(model):
    folder, report = model
    heard = []
    again = warm_up(reversed(CONVERSATIONS), folder, settings=SMALL, progress=lambda *step: heard.append(step))
    assert again == replace(report, trained=False)
    assert heard == []
    stored = json.loads((folder / "warm_up.json").read_text())["report"]
    assert stored == asdict(report)


def test_killed_and_run_again_ends_with_the_weights_of_an_uninterrupted_run(model, tmp_path):
    uninterrupted, report = model
    folder = tmp_path / "warm-up"

    def kill(done, total, message):
        if done == 20:
            raise KilledError

    with pytest.raises(KilledError):
        warm_up(CONVERSATIONS, folder, settings=SMALL, progress=kill)
    assert not folder.exists()
    heard = []
    again = warm_up(CONVERSATIONS, folder, settings=SMALL, progress=lambda *step: heard.append(step[0]))
    assert heard == [20, 30, 31]  # steps 15 to 31: the checkpoint was after step 14
    assert weights(folder) == weights(uninterrupted)
    assert again.held_out_loss_before == report.held_out_loss_before
    assert not folder.with_name("warm-up.partial").exists()


def test_another_seed_or_corpus_replaces_the_model(tmp_path):
    folder = tmp_path / "warm-up"
    quick = replace(SMALL, token_budget=256)
    first = warm_up(CONVERSATIONS, folder, settings=quick)
    kept = weights(folder)
    second = warm_up(CONVERSATIONS, folder, settings=quick, seed=1)
    assert second.trained
    assert second.data_hash == first.data_hash
    assert weights(folder) != kept
    assert warm_up(CONVERSATIONS[:50], folder, settings=quick, seed=1).data_hash != first.data_hash


def test_the_callers_random_numbers_are_left_alone(tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    warm_up(CONVERSATIONS, tmp_path / "m", settings=replace(SMALL, token_budget=128))
    assert torch.rand(1) == expected


def test_one_short_conversation_is_enough_and_has_no_held_out_loss(tmp_path):
    report = warm_up(CONVERSATIONS[:1], tmp_path / "m", settings=SMALL)
    assert report.held_out_loss_after is None
    assert report.steps == 1


def test_no_text_is_an_error_of_two_lines(tmp_path):
    with pytest.raises(CorpusError, match="no text to warm up on"):
        warm_up([[]], tmp_path / "m")
