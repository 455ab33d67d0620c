from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from curation.errors import ModelError
from curation.language_models.causal_lm import HuggingFaceCausalLM, fingerprint_of, load, open_causal_lm
from curation.warm_up import WarmUpSettings, warm_up

CONVERSATIONS = [
    [{"role": "user", "content": f"Name the number after {n}."}, {"role": "assistant", "content": f"It is {n + 1}."}]
    for n in range(30)
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    warm_up(CONVERSATIONS, folder, settings=WarmUpSettings(token_budget=1, layers=2, hidden=64, window=64))
    return folder


@pytest.fixture(scope="module")
def lm(tiny) -> HuggingFaceCausalLM:
    return open_causal_lm(f"hf:{tiny}")


def by_hand(folder: Path, ids: list[int], start: int) -> np.ndarray:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        log_p = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    return np.array([-log_p[i - 1, ids[i]].item() for i in range(max(1, start), len(ids))], dtype=np.float32)


SEQUENCES = [list(range(5, 25)), [7], [9, 8, 7], [], list(range(100, 164)), [3, 4, 5, 6], [7, 7, 7]]
STARTS = [4, 0, 0, 0, 60, 4, 2]


@pytest.mark.parametrize("batch_tokens", [1, 40, 10_000])
def test_batched_losses_equal_one_forward_pass_per_row_in_input_order(tiny, lm, batch_tokens):
    found = lm.token_losses(SEQUENCES, STARTS, batch_tokens=batch_tokens)

    assert [len(f) for f in found] == [16, 0, 2, 0, 4, 0, 1]
    for losses, ids, start in zip(found, SEQUENCES, STARTS, strict=True):
        assert losses.dtype == np.float32
        if len(ids):
            np.testing.assert_allclose(losses, by_hand(tiny, ids, start), atol=1e-5)


def test_a_logits_budget_smaller_than_a_row_still_scores_every_row(tiny, lm, monkeypatch):
    monkeypatch.setattr("curation.language_models.causal_lm.BATCH_LOGITS", 1)
    found = lm.token_losses(SEQUENCES, STARTS)
    np.testing.assert_allclose(found[4], by_hand(tiny, SEQUENCES[4], STARTS[4]), atol=1e-5)


@pytest.mark.parametrize("batch_tokens", [1, 40, 10_000])
def test_logits_of_the_next_token_equal_one_forward_pass_per_row_in_input_order(tiny, lm, batch_tokens):
    sequences, ids = [s for s in SEQUENCES if s], [5, 200, 7]
    found = lm.next_logits(sequences, ids, batch_tokens=batch_tokens)

    model = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32).eval()
    with torch.no_grad():
        alone = [model(torch.tensor([s])).logits[0, -1, ids].numpy() for s in sequences]
    np.testing.assert_allclose(found, alone, atol=1e-5)
    assert found.dtype == np.float32
    assert lm.next_logits([], ids).shape == (0, 3)
    with pytest.raises(ValueError, match="window of 64"):
        lm.next_logits([[1] * 65], ids)


def test_batches_read_side_by_side_give_the_same_losses_and_leave_the_threads_as_they_were(lm):
    sequences, threads = [list(range(5, 25 + n)) for n in range(12)], torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = lm.token_losses(sequences, [1] * 12, batch_tokens=64)
        torch.set_num_threads(3)
        together = lm.token_losses(sequences, [1] * 12, batch_tokens=64)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


def test_logits_that_an_architecture_scales_after_its_head_are_scored_as_scaled(tmp_path):
    from transformers import Gemma2Config, Gemma2ForCausalLM

    torch.manual_seed(0)
    config = Gemma2Config(
        vocab_size=600, hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=16, final_logit_softcapping=0.5, max_position_embeddings=64,
    )  # fmt: skip
    model = Gemma2ForCausalLM(config).eval()
    model.save_pretrained(tmp_path)
    tokenizer = type("NoTokenizer", (), {"model_max_length": 64})()
    found = HuggingFaceCausalLM("gemma", model, tokenizer).token_losses(SEQUENCES, STARTS)
    np.testing.assert_allclose(found[0], by_hand(tmp_path, SEQUENCES[0], STARTS[0]), atol=1e-5)


def test_a_sequence_longer_than_the_window_is_refused(lm):
    assert lm.window == 64
    with pytest.raises(ValueError, match="window of 64"):
        lm.token_losses([[1] * 65], [1])


def test_tokens_are_plain_and_chinese_survives(lm):
    ids = lm.tokenize(["你好，世界。", ""])
    assert lm.tokenizer.decode(ids[0]) == "你好，世界。"
    assert ids[1] == []
    assert lm.tokenize([]) == []


def test_the_model_is_opened_once_and_opened_anew_when_its_weights_change(tiny, lm):
    assert open_causal_lm(f"hf:{tiny}") is lm
    before = fingerprint_of(str(tiny))
    weights = tiny / "model.safetensors"
    kept = weights.read_bytes()
    try:
        weights.write_bytes(kept[:-4] + b"\x00\x00\x00\x3f")
        assert fingerprint_of(str(tiny)) != before
    finally:
        weights.write_bytes(kept)
    assert fingerprint_of(f"hf:{tiny}") == before == lm.fingerprint


def test_load_gives_a_float32_model_in_eval_mode_on_a_cpu(tiny):
    model, tokenizer = load(tiny, device="cpu")
    assert next(model.parameters()).dtype == torch.float32
    assert not model.training
    assert tokenizer.eos_token == "<|im_end|>"


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ModelError, match="no model folder"):
        open_causal_lm(f"hf:{tmp_path / 'absent'}")


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"no config\.json"):
        open_causal_lm(str(tmp_path))


def test_an_encoder_is_not_taken_for_a_causal_lm(tmp_path):
    config = {"model_type": "bert", "architectures": ["BertForMaskedLM"]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="names BertForMaskedLM"):
        open_causal_lm(str(tmp_path))


def test_a_model_without_weights_is_two_lines_not_a_traceback(tmp_path):
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError) as error:
        open_causal_lm(str(tmp_path))
    assert len(str(error.value).split("\n")) == 2


def test_a_hub_name_without_a_network_is_two_lines(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="neither a folder nor") as error:
        open_causal_lm("hf:winnow-tests/no-such-model")
    assert len(str(error.value).split("\n")) == 2
