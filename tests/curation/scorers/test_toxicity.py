"""Toxicity by the word list, and by a classifier made here."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curation.errors import ModelError
from curation.scorers import Toxicity
from curation.texts.text_classifier import label_index

RUDE, OBSCENE, SLUR = (codecs.decode(word, "rot13") for word in ("vqvbg", "ohyyfuvg", "jrgonpx"))
ABUSE_ZH = "\u738b\u516b\u86cb"


def measured(*answers: str | None, **settings: Any) -> pl.DataFrame:
    frame = pl.DataFrame({"id": [str(i) for i in range(len(answers))], "response": answers})
    return Toxicity(**settings).score(frame)


def test_the_worst_word_decides() -> None:
    found = measured(
        "Good day.", f"You {RUDE}!", f"That is {OBSCENE.upper()}, {RUDE}s.", f"A {SLUR}.", f"你这个{ABUSE_ZH}！"
    )
    assert found["toxicity"].to_list() == [0, 0.3, 0.6, 1.0, 0.6]
    assert found["toxic"].to_list() == [False, False, True, True, True]
    assert found["toxic_words"].to_list() == [None, RUDE, f"{OBSCENE}, {RUDE}s", SLUR, ABUSE_ZH]


@pytest.mark.parametrize(
    "text",
    [
        "Scunthorpe lies in Lincolnshire.",
        "Add the spices and the shiitake.",
        "Raccoons and a Maine coon cat.",
        "A flame retardant coat.",
        "Classic passages.",
        "我妈的手机在桌上。",
        "印度支那半岛",
    ],
)
def test_innocent_words_are_not_listed(text: str) -> None:
    assert measured(text)["toxicity"].to_list() == [0]


def test_an_empty_answer_is_null_with_the_reason() -> None:
    assert measured("", " ", None).rows() == [(None, None, None, "the answer is empty")] * 3


def test_the_threshold_is_chosen() -> None:
    assert measured(f"You {RUDE}!", threshold=0.3)["toxic"].to_list() == [True]


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A one-layer BERT over seven words, made to call `bad` toxic and `good` harmless."""
    torch = pytest.importorskip("torch", reason="needs the extra: pip install 'winnow-studio[models]'")
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

    folder = tmp_path_factory.mktemp("classifier")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad"]
    (folder / "vocab.txt").write_text("\n".join(words))
    BertTokenizer(str(folder / "vocab.txt"), model_max_length=16).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=7, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=16, id2label={0: "non-toxic", 1: "toxic"}, label2id={"non-toxic": 0, "toxic": 1},
    )  # fmt: skip
    model = BertForSequenceClassification(config).eval()
    with torch.no_grad():
        good, bad = model.bert(input_ids=torch.tensor([[2, 5, 3], [2, 6, 3]])).pooler_output
        towards = 4 * (bad - good) / (bad - good).square().sum()
        model.classifier.weight.copy_(torch.stack([-towards, towards]))
        middle = towards @ (good + bad) / 2
        model.classifier.bias.copy_(torch.stack([middle, -middle]))
    model.save_pretrained(folder)
    return folder


def test_a_classifier_gives_the_probability_of_its_toxic_label(classifier: Path) -> None:
    found = measured("good", "bad", "", f"good {RUDE}", model=f"hf:{classifier}")
    good, bad, empty, quoted = found["toxicity"]
    assert good < 0.2 < 0.8 < bad < 1
    assert empty is None
    assert found["toxic"].to_list() == [False, True, None, quoted >= 0.5]
    assert found["toxic_words"].to_list() == [None, None, None, RUDE]


def test_a_long_answer_is_as_toxic_as_its_worst_part(classifier: Path) -> None:
    found = measured("good " * 40 + "bad", "good " * 40, model=f"hf:{classifier}", label="toxic")
    assert found["toxicity"][0] > found["toxicity"][1]


def test_batches_and_padding_change_nothing(classifier: Path) -> None:
    texts = ["good", "bad", "good bad good", "bad bad bad bad bad"] * 12
    together = measured(*texts, model=f"hf:{classifier}")["toxicity"].to_list()
    alone = [measured(text, model=f"hf:{classifier}")["toxicity"][0] for text in texts[:4]]
    assert together == pytest.approx(alone * 12, abs=1e-5)


def test_the_fingerprint_names_the_weights(classifier: Path) -> None:
    assert Toxicity().fingerprint() == ""
    assert len(Toxicity(model=f"hf:{classifier}").fingerprint()) == 16


@pytest.mark.parametrize(
    ("labels", "wanted", "index"),
    [
        ({0: "toxic", 1: "insult"}, None, 0),
        ({0: "non-toxic", 1: "toxic"}, None, 1),
        ({0: "nothate", 1: "hate"}, None, 1),
        ({0: "LABEL_0", 1: "LABEL_1"}, None, 1),
        ({0: "a", 1: "b", 2: "insult"}, "Insult", 2),
    ],
)
def test_the_label_is_found_by_its_name(labels: dict[int, str], wanted: str | None, index: int) -> None:
    assert label_index(labels, wanted) == index


def test_an_unclear_label_is_asked_for() -> None:
    with pytest.raises(ModelError, match="no label that is named after toxicity") as error:
        label_index({0: "happy", 1: "sad"}, None)
    assert error.value.fix == "name one: --set label=happy|sad"


def test_a_folder_without_a_classifier_is_two_lines(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no model"):
        measured("text", model=f"hf:{tmp_path}")
