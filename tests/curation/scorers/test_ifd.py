from __future__ import annotations

import copy
import math

import numpy as np
import polars as pl
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from curation.errors import ModelError, OperatorError
from curation.sample import Message, Sample, to_frame
from curation.scorers.ifd import ASK_BACK, IFD
from curation.scorers.metadata import Metadata
from curation.scoring import score
from curation.selection import select
from curation.selectors.top_k import TopK
from curation.warm_up import WarmUpSettings, warm_up
from tests.curation.samples import corpus_of, pair

TEXT = "Name three colours of the rainbow. Red, green and blue. 请用中文回答：天空是什么颜色？天空是蓝色的。"
WINDOW = 128
ALPACA = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{q}\n\n### Response:"
)
PAIRS = [
    ("Name three colours.", "Red, green and blue."),
    ("天空是什么颜色？", "天空是蓝色的。"),
    ("Return {braces}.", "{}"),
    ("What colour?", "\n\nGreen"),
    ("What colour is it?", "Red, green and blue."),
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A corpus folder with a random tiny model of its own."""
    folder = tmp_path_factory.mktemp("corpus")
    settings = WarmUpSettings(token_budget=1, layers=2, hidden=64, window=WINDOW)
    turns = [{"role": "user", "content": TEXT}, {"role": "assistant", "content": TEXT + ALPACA}]
    warm_up([turns], folder / "models" / "warm-up", settings=settings)
    return folder


@pytest.fixture(scope="module")
def path(corpus) -> str:
    return str(corpus / "models" / "warm-up")


@pytest.fixture(scope="module")
def raw(path):
    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval(), AutoTokenizer.from_pretrained(path)


def frame(*pairs: tuple[str, str]) -> pl.DataFrame:
    return to_frame([Sample((Message("user", q), Message("assistant", a))) for q, a in pairs])


def answer_losses(raw, prefix: str, answer: str) -> list[float]:
    """Row by row, token by token, from the logits."""
    model, tokenizer = raw
    ids = tokenizer.encode(prefix + answer, add_special_tokens=False)
    start = len(tokenizer.encode(prefix, add_special_tokens=False))
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0].double()
    return [-logits[i - 1].log_softmax(-1)[ids[i]].item() for i in range(max(1, start), len(ids))]


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def one_token_answer(raw) -> str:
    """A text that is one token, alone and after each of the prompts."""
    assert len(raw[1].encode("r", add_special_tokens=False)) == 1
    return "r"


@pytest.mark.parametrize("template,prompt,heading", [(None, ALPACA, "### Response:"), ("plain", "{q}\n", "\n")])
def test_the_loss_ratio_equals_a_row_by_row_computation(path, raw, template, prompt, heading):
    scores = IFD(model=path, template=template).score(frame(*PAIRS))

    assert scores.columns == ["ifd", "ifd_conditional_loss", "ifd_direct_loss", "reason"]
    assert scores["reason"].to_list() == [None] * len(PAIRS)
    for (q, a), row in zip(PAIRS, scores.iter_rows(), strict=True):
        conditional = mean(answer_losses(raw, prompt.replace("{q}", q), a))
        direct = mean(answer_losses(raw, heading, a))
        assert row[:3] == pytest.approx((conditional / direct, conditional, direct), abs=1e-5)


def test_the_perplexity_ratio_equals_a_row_by_row_computation(path, raw):
    scores = IFD(model=path, definition="perplexity-ratio").score(frame(*PAIRS))

    assert scores.columns == ["ifd_ppl", "ifd_ppl_conditional_loss", "ifd_ppl_direct_loss", "reason"]
    for (q, a), row in zip(PAIRS, scores.iter_rows(), strict=True):
        conditional, direct = mean(answer_losses(raw, f"{q}\n", a)), mean(answer_losses(raw, "", a))
        assert row[:3] == pytest.approx((math.exp(conditional) / math.exp(direct), conditional, direct), abs=1e-5)


def test_trap_01_ifd_loss_ratio_is_not_ppl_ratio_both_are_named_and_stored_with_the_score(path):
    loss, perplexity = IFD(model=path), IFD(model=path, definition="perplexity-ratio")
    assert not set(loss.columns) & set(perplexity.columns)
    assert loss.spec()["parameters"]["definition"] == "loss-ratio"
    same_prompt = IFD(model=path, template="plain").score(frame(*PAIRS))
    assert abs(same_prompt["ifd"] - perplexity.score(frame(*PAIRS))["ifd_ppl"]).min() > 1e-6


def test_trap_02_first_answer_token_scored_in_both_passes_or_unscored_in_direct_n_vs_n_minus_1(path, raw):
    answer = one_token_answer(raw)
    loss = IFD(model=path).score(frame(("Which letter?", answer))).row(0)
    conditional, direct = (
        answer_losses(raw, ALPACA.replace("{q}", "Which letter?"), answer),
        answer_losses(raw, "### Response:", answer),
    )
    assert len(conditional) == len(direct) == 1
    assert loss[0] == pytest.approx(conditional[0] / direct[0], abs=1e-5)

    perplexity = IFD(model=path, definition="perplexity-ratio").score(frame(("Which letter?", answer))).row(0)
    assert perplexity[0] is None
    assert perplexity[1] == pytest.approx(answer_losses(raw, "Which letter?\n", answer)[0], abs=1e-5)
    assert perplexity[2] is None
    assert perplexity[3] == "a one-token answer has no direct loss: nothing comes before its token"


@pytest.mark.parametrize("definition", ["loss-ratio", "perplexity-ratio"])
def test_trap_03_truncation_alignment_both_passes_see_the_same_answer_tokens_or_the_row_is_null(path, raw, definition):
    count = len(raw[1].encode("Say r.\n", add_special_tokens=False))
    fits, over = "r" * (WINDOW - count), "r" * (WINDOW - count + 1)
    assert len(raw[1].encode("Say r.\n" + fits, add_special_tokens=False)) == WINDOW
    scores = IFD(model=path, definition=definition, template="plain").score(frame(("Say r.", fits), ("Say r.", over)))
    assert scores.row(0)[3] is None
    assert scores.row(1) == (None, None, None, "prompt and answer do not fit in the window of 128 tokens")


@pytest.mark.parametrize("definition", ["loss-ratio", "perplexity-ratio"])
def test_trap_04_empty_or_one_token_outputs_and_prompt_ge_window_are_null_with_a_reason(path, definition):
    long = "colour " * 200
    reasons = {
        ("Name one.", ""): "the answer is empty",
        (long, "Red."): "the prompt alone fills the window of 128 tokens",
        ("Name one.", long): "prompt and answer do not fit in the window of 128 tokens",
    }
    scores = IFD(model=path, definition=definition).score(frame(*reasons, ("Name one.", "Red.")))
    assert [row[3] for row in scores.iter_rows()] == [*reasons.values(), None]
    assert scores.rows()[:3] == [(None, None, None, reason) for reason in reasons.values()]
    measured = scores.row(3)[0]
    assert math.isfinite(measured)
    assert measured > 0


def test_trap_05_ifd_bound_is_at_most_1_for_cherry_below_1_for_superfiltering_and_shares_are_of_the_pool(tmp_path):
    values = {"a": 0.5, "b": 1.0, "c": 1.2, "d": 0.75}
    corpus = corpus_of(tmp_path / "c", [pair(q, "r", metadata={"ifd": v, "ifd_ppl": v}) for q, v in values.items()])
    for column in ("ifd", "ifd_ppl"):
        score(corpus, Metadata(field=column))
    questions = dict(corpus.frame(["id", "instruction"]).iter_rows())

    cherry = select(corpus, TopK(score="ifd", max=1), "50%", name="cherry")  # half of the 4, not of the 3 survivors
    assert [questions[i] for i in cherry.ids] == ["b", "d"]
    superfiltering = select(corpus, TopK(score="ifd_ppl"), 2, name="super", where="ifd_ppl < 1")
    assert [questions[i] for i in superfiltering.ids] == ["d", "a"]


def test_trap_01_hand_computed_losses_of_a_uniform_model_and_of_given_numbers(tmp_path, raw):
    conditional, direct = np.array([1.0, 2.0, 3.0]), np.array([4.0, 2.0])
    assert IFD(model="x")._ratio(conditional, direct)[:3] == pytest.approx((2 / 3, 2, 3))
    ratio = IFD(model="x", definition="perplexity-ratio")._ratio(conditional, direct)
    assert ratio[:3] == pytest.approx((math.exp(2) / math.exp(3), 2, 3))

    model, tokenizer = raw
    uniform = copy.deepcopy(model)
    for weights in uniform.parameters():
        torch.nn.init.zeros_(weights)  # every token is as likely as any other: ln(vocabulary) nats each
    uniform.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    row = IFD(model=str(tmp_path)).score(frame(PAIRS[0])).row(0)
    assert row[:3] == pytest.approx((1.0, math.log(len(tokenizer)), math.log(len(tokenizer))), rel=1e-6)


def test_scores_above_the_bound_are_kept_for_a_selector_to_drop(path):
    scores = IFD(model=path, definition="perplexity-ratio").score(frame(*PAIRS))
    assert (scores["ifd_ppl"] > 1).any()


def test_the_reverse_equals_a_row_by_row_computation_of_the_instruction_after_the_answer(path, raw):
    pairs = [pair for pair in PAIRS if pair[0] != "Return {braces}."]
    scores = IFD(model=path, definition="reverse").score(frame(*pairs))

    assert scores.columns == ["ifd_reverse", "ifd_reverse_conditional_loss", "ifd_reverse_direct_loss", "reason"]
    for (q, a), row in zip(pairs, scores.iter_rows(), strict=True):
        given = mean(answer_losses(raw, ALPACA.replace("{q}", ASK_BACK.replace("{}", a)), q))
        alone = mean(answer_losses(raw, "", q))
        assert row[:3] == pytest.approx((math.exp(given - alone), given, alone), abs=1e-5)


def test_the_reverse_says_why_there_is_nothing_to_guess(path, raw):
    pairs = [("Name one.", ""), ("", "Red."), (one_token_answer(raw), "Red."), ("Name one.", "Red. " * 100)]
    scores = IFD(model=path, definition="reverse").score(frame(*pairs))
    assert scores["ifd_reverse"].to_list() == [None] * 4
    assert scores["reason"].to_list() == [
        "the answer is empty",
        "the instruction is empty",
        "a one-token instruction has no direct loss: nothing comes before its token",
        "the prompt alone fills the window of 128 tokens",
    ]


@pytest.mark.parametrize("definition", ["loss-ratio", "perplexity-ratio"])
def test_batched_scores_equal_scores_one_by_one_in_the_same_order(path, definition):
    pairs = [*PAIRS, ("Empty?", ""), ("Again: name three colours.", "Red, green and blue."), ("A?", "Green. " * 15)]
    together = IFD(model=path, definition=definition).score(frame(*pairs))
    for i, one in enumerate(pairs):
        alone = IFD(model=path, definition=definition, batch_tokens=1).score(frame(one)).row(0)
        assert alone[3] == together.row(i)[3]
        assert alone[:3] == pytest.approx(together.row(i)[:3], abs=1e-5)


def test_of_several_turns_the_last_answer_is_scored_given_everything_before_it(path, raw):
    turns = (
        Message("system", "Be brief."),
        Message("user", "Sky?"),
        Message("assistant", "Blue."),
        Message("user", "Grass?"),
        Message("assistant", "Green."),
        Message("user", "Thanks"),
    )
    row = IFD(model=path, template="plain").score(to_frame([Sample(turns)])).row(0)
    prompt = "System: Be brief.\n\nUser: Sky?\n\nAssistant: Blue.\n\nUser: Grass?\n"
    assert row[1] == pytest.approx(mean(answer_losses(raw, prompt, "Green.")), abs=1e-5)

    chat = IFD(model=path, template="chatml").score(to_frame([Sample(turns[:3])])).row(0)
    prompt = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nSky?<|im_end|>\n<|im_start|>assistant\n"
    assert chat[1] == pytest.approx(mean(answer_losses(raw, prompt, "Blue.")), abs=1e-5)


def test_an_answer_with_nothing_before_it_or_no_answer_at_all_has_a_reason(path):
    samples = [Sample((Message("assistant", "Red."),)), Sample((Message("user", "Which?"),))]
    scores = IFD(model=path).score(to_frame(samples))
    assert scores["reason"].to_list() == ["nothing comes before the answer", "the answer is empty"]


def test_a_plain_pair_scores_the_same_with_its_messages_written_out(path):
    from polars import col, concat_list, lit, struct

    pairs = frame(*PAIRS)
    turns = [struct(lit(role).alias("role"), col(name).alias("content")) for role, name in
             (("user", "instruction"), ("assistant", "response"))]  # fmt: skip
    written = pairs.with_columns(concat_list(turns).alias("messages"))
    assert pairs["messages"].null_count() == len(PAIRS)
    assert IFD(model=path).score(written).equals(IFD(model=path).score(pairs))


def test_an_empty_batch_gives_an_empty_frame(path):
    assert IFD(model=path).score(frame()).shape == (0, 4)


def test_without_a_name_the_corpus_own_model_and_its_template_are_used(corpus, path):
    scorer = IFD().in_corpus(corpus)
    assert (scorer.model, scorer.template) == (path, "chatml")
    assert IFD(model="hf:x").in_corpus(corpus) == IFD(model="hf:x")
    assert len(scorer.fingerprint()) == 16
    assert scorer.score(frame(PAIRS[0])).row(0)[3] is None


def test_a_corpus_without_a_model_says_how_to_make_one(tmp_path):
    with pytest.raises(ModelError) as error:
        IFD().in_corpus(tmp_path)
    assert error.value.fix == f"winnow warm-up {tmp_path}"
    with pytest.raises(ModelError, match="needs a causal language model"):
        IFD().score(frame(PAIRS[0]))


def test_more_tokens_than_the_model_sees_are_refused(path):
    with pytest.raises(OperatorError, match="max_tokens is 4096, but the model sees only 128"):
        IFD(model=path, max_tokens=4096).score(frame(PAIRS[0]))
