from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from curation.errors import ModelError
from curation.language_models.causal_lm import HuggingFaceCausalLM, load
from curation.language_models.encoders import LexicalEncoder, open_encoder
from curation.language_models.hidden_states import POOLINGS, PooledEncoder, token_weights
from tests.data import shared

TEXTS = [
    "How do I bake bread at home?",
    "How do I bake a loaf of bread at home?",
    "Explain the theory of relativity.",
    "Explain Einstein's theory of relativity to a child.",
    "写一首关于春天的诗。",
    "请写一首关于春天的短诗。",
    "解释一下什么是机器学习。",
    "def add(a, b): return a + b",
]


@pytest.fixture(scope="module")
def lexical() -> LexicalEncoder:
    return LexicalEncoder().fit(TEXTS)


def test_rewordings_are_nearest_in_english_and_in_chinese(lexical):
    vectors = lexical.encode(TEXTS)
    near = (vectors @ vectors.T - 2 * np.eye(len(TEXTS))).argmax(axis=1)
    assert list(near[:6]) == [1, 0, 3, 2, 5, 4]


def test_vectors_are_float32_of_unit_length_and_an_empty_text_is_all_zeros(lexical):
    vectors = lexical.encode(["", *TEXTS, " \n"])
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [0, *[1] * 8, 0], atol=1e-6)
    assert lexical.encode([]).shape == (0, vectors.shape[1])


def test_a_vector_does_not_depend_on_the_texts_beside_it(lexical):
    many = lexical.encode(TEXTS * 300)
    np.testing.assert_array_equal(many[-1:], lexical.encode(TEXTS[-1:]))


def test_case_spacing_and_what_follows_a_thousand_characters_do_not_matter(lexical):
    long = "word " * 200
    a, b, c, d = lexical.encode(["Bake  BREAD\n", "bake bread", long, long + "other things"])
    np.testing.assert_allclose(a, b, atol=1e-6)
    np.testing.assert_allclose(c, d, atol=1e-6)


def test_fitting_twice_gives_the_same_vectors(lexical):
    np.testing.assert_array_equal(LexicalEncoder().fit(TEXTS).encode(TEXTS), lexical.encode(TEXTS))


def test_a_large_corpus_gives_the_full_number_of_dimensions():
    texts = [f"{TEXTS[i % 8]} number {i * i}" for i in range(200)]
    assert LexicalEncoder(32).fit(texts).encode(texts).shape == (200, 32)


def test_the_fitted_encoder_is_stored_and_later_samples_get_the_same_space(tmp_path, lexical):
    fitted = open_encoder("lexical", folder=tmp_path, fit_on=lambda: TEXTS)
    later = open_encoder("lexical", folder=tmp_path)
    np.testing.assert_array_equal(later.encode(["A new text about bread"]), fitted.encode(["A new text about bread"]))
    np.testing.assert_array_equal(later.encode(TEXTS), lexical.encode(TEXTS))


def test_half_a_surrogate_pair_is_a_text_like_any_other(lexical):
    assert np.isfinite(lexical.encode(["broken \ud83d emoji"])).all()


def test_an_unfitted_lexical_encoder_says_how_to_fit_it(tmp_path):
    with pytest.raises(ModelError, match="not been fitted"):
        open_encoder("lexical", folder=tmp_path)
    with pytest.raises(ModelError, match="not been fitted"):
        LexicalEncoder().encode(["text"])
    with pytest.raises(ModelError, match="no text to fit"):
        LexicalEncoder().fit(["", " "])


def test_an_unknown_encoder_names_the_known_ones():
    with pytest.raises(ModelError, match="Unknown encoder 'lexicl'") as error:
        open_encoder("lexicl")
    assert "did you mean 'lexical'?" in error.value.fix


def test_sentence_transformers_from_a_folder_compare_meaning():
    encoder = open_encoder(f"sentence-transformers:{shared('reference/static_embedder')}")
    vectors = encoder.encode(["a dog runs", "", "the puppy is running", "the law on income tax"])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [1, 0, 1, 1], atol=1e-5)
    assert vectors.dtype == np.float32
    assert vectors[0] @ vectors[2] > vectors[0] @ vectors[3] + 0.3


def test_a_missing_sentence_transformer_is_two_lines(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for name in (tmp_path / "absent", "winnow-tests/no-such-model", tmp_path):
        with pytest.raises(ModelError) as error:
            open_encoder(f"sentence-transformers:{name}")
        assert len(str(error.value).split("\n")) == 2


TINY = "reference/tiny_causal_lm"
EIGHT = ["Why?", *TEXTS[:4], TEXTS[4] * 9, "How many apples are left? " * 20, "a"]


def pooled_by_hand(text: str, weights: Callable[[int], np.ndarray]) -> np.ndarray:
    """One text through the whole model, its last hidden states weighted in numpy."""
    import torch

    model, tokenizer = load(shared(TINY), device="cpu")
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        states = model(torch.tensor([ids]), output_hidden_states=True).hidden_states[-1][0].numpy()
    vector = weights(len(ids)) @ states
    return vector / np.linalg.norm(vector)


@pytest.mark.parametrize(
    ("pooling", "weights"),
    [
        ("mean", lambda n: np.full(n, 1 / n)),
        ("weighted", lambda n: np.arange(1, n + 1) / (n * (n + 1) / 2)),
        ("last", lambda n: np.eye(n)[-1]),
    ],
)
def test_hidden_states_are_pooled_as_by_hand(pooling, weights):
    encoder = open_encoder(f"hf-{pooling}:{shared(TINY)}")
    found = encoder.encode([EIGHT[1], EIGHT[5]])
    np.testing.assert_allclose(found[0], pooled_by_hand(EIGHT[1], weights), atol=1e-5)
    np.testing.assert_allclose(found[1], pooled_by_hand(EIGHT[5], weights), atol=1e-5)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_trap_15_rds_mean_pooling_masks_padding_batch_of_8_equals_batch_of_1(pooling):
    encoder = open_encoder(f"hf-{pooling}:{shared(TINY)}")
    together = encoder.encode(EIGHT)
    alone = np.concatenate([encoder.encode([text]) for text in EIGHT])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)


def test_the_weights_of_tokens_by_hand():
    import torch

    lengths = torch.tensor([3, 1])
    assert token_weights(lengths, 4, "mean")[0].tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0])
    assert token_weights(lengths, 4, "weighted")[0].tolist() == pytest.approx([1 / 6, 2 / 6, 3 / 6, 0])
    assert token_weights(lengths, 4, "last").tolist() == [[0, 0, 1, 0], [1, 0, 0, 0]]


def test_an_empty_text_has_no_states_and_one_beyond_the_window_counts_from_its_beginning():
    encoder = open_encoder(f"hf-mean:{shared(TINY)}")
    long = "one two three four " * 400
    vectors = encoder.encode(["", long, long + "and then the king died", " \n"])
    np.testing.assert_array_equal(np.linalg.norm(vectors, axis=1).round(5), [0, 1, 1, 0])
    np.testing.assert_array_equal(vectors[1], vectors[2])
    assert encoder.most_tokens == 1024


def test_the_folder_of_an_adapter_opens_its_base_with_the_adapter_on_it(tmp_path):
    import torch
    from peft import LoraConfig, get_peft_model

    base = str(shared(TINY))
    model, tokenizer = load(base, device="cpu")
    model.name_or_path = base
    adapted = get_peft_model(model, LoraConfig(target_modules="all-linear", r=2, task_type="CAUSAL_LM"))
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.constant_(weight, 0.02)
    adapted.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    found = open_encoder(f"hf-mean:{tmp_path}").encode(TEXTS)
    expected = PooledEncoder("", HuggingFaceCausalLM("", adapted.merge_and_unload(), tokenizer), "mean").encode(TEXTS)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(found - open_encoder(f"hf-mean:{base}").encode(TEXTS)).max() > 1e-3


def test_a_missing_causal_lm_or_base_model_is_two_lines(tmp_path):
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "/nowhere/at/all"}')
    for spec in (f"hf-mean:{tmp_path / 'absent'}", f"hf-last:{tmp_path}", "hf-median:gpt2"):
        with pytest.raises(ModelError) as error:
            open_encoder(spec)
        assert len(str(error.value).split("\n")) == 2
