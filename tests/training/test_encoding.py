from __future__ import annotations

from typing import Any

import pytest

from curation.errors import WinnowError
from tests.training.conftest import CHATML, WriteMix, byte_tokenizer
from tests.training.templates import STYLES, tokenizer_of
from training.config import TrainConfig
from training.data.encoding import Account, Encoded, Encoder, prefix_of_tokens, rejected_side
from training.data.mix_folder import MixFolder, example
from training.data.training_set import training_set
from training.data.turns import FOLDED_CALLS, FOLDED_REASONING, LOST_REASONING, NO_TOOLS

UNMARKED = CHATML.replace("{% generation %}", "").replace("{% endgeneration %}", "")

ROWS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "messages": (
        {
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Hi"},
                {"role": "assistant", "content": "Hello!"},
                {"role": "user", "content": "再见"},
                {"role": "assistant", "content": "一路顺风。"},
            ]
        },
        ["Hello!<|im_end|>", "一路顺风。<|im_end|>"],
    ),
    "prompt-completion": (
        {
            "prompt": [
                {"role": "user", "content": "Hi"},
                {"role": "assistant", "content": "not this one"},
                {"role": "user", "content": "2+2?"},
            ],
            "completion": [{"role": "assistant", "content": "4"}],
        },
        ["4<|im_end|>"],
    ),
    "alpaca": (
        {"instruction": "Translate.", "input": "cat", "output": "chat", "history": [["Q", "A"]], "system": "S"},
        ["A<|im_end|>", "chat<|im_end|>"],
    ),
    "sharegpt": (
        {
            "system": "S",
            "conversations": [
                {"from": "human", "value": "Hi"},
                {"from": "gpt", "value": "Hello!"},
                {"from": "observation", "value": "12 °C"},
                {"from": "gpt", "value": "It is 12 °C."},
            ],
        },
        ["Hello!<|im_end|>", "It is 12 °C.<|im_end|>"],
    ),
    "preference": (
        {
            "prompt": [{"role": "user", "content": "Hi"}],
            "chosen": [{"role": "assistant", "content": "Hello!"}],
            "rejected": [{"role": "assistant", "content": "What?"}],
        },
        ["Hello!<|im_end|>"],
    ),
}


def carrying(encoded: Encoded | str, tokenizer: Any) -> list[str]:
    """The runs of tokens that carry loss, as text."""
    assert isinstance(encoded, Encoded)
    runs: list[list[int]] = [[]]
    for token, carries in zip(encoded.ids, encoded.loss, strict=True):
        runs[-1:] = [[*runs[-1], token]] if carries else [runs[-1], []] if runs[-1] else [[]]
    return [tokenizer.decode(run) for run in runs if run]


@pytest.mark.parametrize("template", [CHATML, UNMARKED, None], ids=["marked", "unmarked", "no template"])
@pytest.mark.parametrize("shape", ROWS)
def test_only_what_the_assistant_answers_carries_loss(shape: str, template: str | None) -> None:
    row, answers = ROWS[shape]
    tokenizer = byte_tokenizer(template)
    assert carrying(Encoder(tokenizer, max_length=500).encode(example(row)), tokenizer) == answers


@pytest.mark.parametrize("template", [CHATML, UNMARKED], ids=["marked", "unmarked"])
def test_loss_can_be_kept_to_the_last_answer_or_spread_over_everything(template: str) -> None:
    tokenizer, row = byte_tokenizer(template), example(ROWS["messages"][0])
    assert carrying(Encoder(tokenizer, max_length=500, loss_on="last").encode(row), tokenizer) == [
        "一路顺风。<|im_end|>"
    ]
    everything = Encoder(tokenizer, max_length=500, loss_on="all").encode(row)
    assert isinstance(everything, Encoded)
    assert everything.loss == [False] + [True] * (len(everything.ids) - 1)


def test_the_rejected_side_shares_the_prompt() -> None:
    tokenizer, row = byte_tokenizer(), example(ROWS["preference"][0])
    assert carrying(Encoder(tokenizer, max_length=500).encode(rejected_side(row)), tokenizer) == ["What?<|im_end|>"]


def test_a_template_that_rewrites_earlier_turns_never_lets_a_prompt_carry_loss() -> None:
    forgetful = UNMARKED.replace(
        "m['content'] + '<|im_end|>' }}{{", "(m['content'] if loop.last else '…') + '<|im_end|>' }}{{"
    )
    tokenizer, row = byte_tokenizer(forgetful), example(ROWS["messages"][0])
    assert carrying(Encoder(tokenizer, max_length=500).encode(row), tokenizer) == ["一路顺风。<|im_end|>"]


def test_a_long_answer_is_cut_and_counted_and_a_row_without_any_is_dropped_with_its_reason() -> None:
    def asked(question: str, answer: str) -> Any:
        return example({"instruction": question, "output": answer})

    account = Account()
    encoder = Encoder(byte_tokenizer(), max_length=40)
    rows = [
        asked("a", "b"),
        asked("a", "b" * 50),
        asked("a" * 50, "b"),
        example({"messages": [{"role": "user", "content": "a"}]}),
    ]
    kept = list(encoder.encode_all(rows, account))
    assert [row.truncated for row in kept] == [False, True]
    assert (account.rows, account.truncated, account.tokens) == (2, 1, sum(len(row.ids) for row in kept))
    assert dict(account.dropped) == {
        "its answer lies beyond max_length 40": 1,
        "no assistant turn could be found in it": 1,
    }


@pytest.mark.parametrize("budget, rows", [(10, 1), (14, 1), (16, 2), (25, 2), (26, 3), (99, 3)])
def test_the_random_arm_takes_the_prefix_whose_tokens_come_nearest(budget: int, rows: int) -> None:
    encoded = [Encoded(str(i), "s", [1] * tokens, [False] * tokens) for i, tokens in enumerate((10, 10, 11))]
    assert len(list(prefix_of_tokens(encoded, budget))) == rows


def test_a_row_that_the_chat_template_refuses_is_dropped_and_not_fatal() -> None:
    row = {**ROWS["messages"][0], "tools": "not JSON"}
    refused = Encoder(byte_tokenizer(), max_length=500).encode(example(row))
    assert isinstance(refused, str)
    assert refused.startswith("the chat template refuses it")


def test_an_alpaca_row_reads_like_the_same_row_as_messages() -> None:
    alpaca = example({"instruction": "Translate.", "input": "cat", "output": "chat"})
    assert [m["content"] for m in alpaca.messages] == ["Translate.\n\ncat", "chat"]


THOUGHT = {
    "messages": [
        {"role": "user", "content": "1+1?"},
        {"role": "assistant", "content": "2", "reasoning": "One more than one."},
        {"role": "user", "content": "And 2+2?"},
        {"role": "assistant", "content": "4", "reasoning": "Two more than two."},
    ]
}


@pytest.mark.parametrize("style", STYLES)
def test_reasoning_that_is_dropped_is_in_no_token_and_every_answer_is_learned(style: str) -> None:
    tokenizer, end = tokenizer_of(style), STYLES[style][1]
    encoded = Encoder(tokenizer, max_length=500, reasoning="drop").encode(example(THOUGHT))
    space = " " if style == "brackets" else ""
    assert carrying(encoded, tokenizer) == [f"{space}2{end}", f"{space}4{end}"]
    assert isinstance(encoded, Encoded)
    assert "more than" not in tokenizer.decode(encoded.ids)


def test_reasoning_inside_an_answer_is_dropped_too() -> None:
    tokenizer = byte_tokenizer()
    row = {"instruction": "1+1?", "output": "<think>\nOne more than one.\n</think>\n\n2"}
    kept, dropped = (Encoder(tokenizer, max_length=500, reasoning=r).encode(example(row)) for r in ("keep", "drop"))
    assert carrying(kept, tokenizer) == [row["output"] + "<|im_end|>"]
    assert carrying(dropped, tokenizer) == ["2<|im_end|>"]


def test_reasoning_that_the_template_leaves_out_of_earlier_turns_is_told_and_the_answers_are_learned() -> None:
    tokenizer = tokenizer_of("thinking")
    account = Account()
    encoded = next(Encoder(tokenizer, max_length=500).encode_all([example(THOUGHT)], account))
    assert carrying(encoded, tokenizer) == ["2<|im_end|>", "<think>\nTwo more than two.\n</think>\n\n4<|im_end|>"]
    assert dict(account.notes) == {LOST_REASONING: 1}
    last_alone = Encoder(tokenizer, max_length=500, loss_on="last").encode(example(THOUGHT))
    assert isinstance(last_alone, Encoded)
    assert last_alone.notes == ()


def test_reasoning_and_tool_calls_that_a_template_does_not_know_are_written_into_the_answer() -> None:
    tokenizer = byte_tokenizer()
    calls = {"name": "f", "arguments": "{}"}
    call = {"role": "assistant", "content": "", "reasoning": "Look it up.", "tool_calls": calls}
    encoded = Encoder(tokenizer, max_length=500).encode(
        example({"messages": [{"role": "user", "content": "?"}, call], "tools": [{"name": "f"}]})
    )
    assert carrying(encoded, tokenizer) == [
        '<think>\nLook it up.\n</think>\n\n<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call><|im_end|>'
    ]
    assert isinstance(encoded, Encoded)
    assert set(encoded.notes) == {FOLDED_REASONING, FOLDED_CALLS, NO_TOOLS}


def test_the_plain_template_has_reasoning_tool_calls_and_tools() -> None:
    tokenizer = byte_tokenizer(None)
    calls = [{"name": "f", "arguments": {}}]
    call = {"role": "assistant", "content": "", "reasoning": "Look it up.", "tool_calls": calls}
    encoded = Encoder(tokenizer, max_length=500).encode(
        example({"messages": [{"role": "user", "content": "?"}, call], "tools": '[{"name": "f"}]'})
    )
    assert isinstance(encoded, Encoded)
    assert encoded.notes == ()
    assert '{"name": "f"}' in tokenizer.decode(encoded.ids)
    assert carrying(encoded, tokenizer) == [
        '<think>\nLook it up.\n</think>\n\n<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call><|im_end|>'
    ]


def test_where_a_template_moves_the_tools_to_the_last_question_earlier_answers_are_learned_all_the_same() -> None:
    tokenizer = tokenizer_of("brackets")
    row = {**THOUGHT, "tools": [{"name": "f"}]}
    encoded = Encoder(tokenizer, max_length=500, reasoning="drop").encode(example(row))
    # The space before the first answer would be there before any other answer too: it counts as the prompt's.
    assert carrying(encoded, tokenizer) == ["2</s>", " 4</s>"]


def test_a_header_that_asks_for_reasoning_is_no_part_of_an_answer_without_any() -> None:
    asking = UNMARKED.replace(
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}",
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n<think>\n' }}",
    )
    tokenizer = byte_tokenizer(asking)
    assert carrying(Encoder(tokenizer, max_length=500).encode(example(ROWS["messages"][0])), tokenizer) == [
        "Hello!<|im_end|>",
        "一路顺风。<|im_end|>",
    ]


def test_a_document_carries_loss_on_every_token_and_goes_on_where_it_is_too_long() -> None:
    tokenizer, account = byte_tokenizer(), Account()
    rows = [example({"text": text}, default_id=text[:1]) for text in ("abcdefghij", "xy", " ")]
    pieces = list(Encoder(tokenizer, max_length=5).encode_all(rows, account))
    assert [tokenizer.decode(piece.ids) for piece in pieces] == ["abcde", "fghi", "j<|im_end|>", "xy<|im_end|>"]
    assert [piece.continues for piece in pieces] == [False, True, True, False]
    assert [sum(piece.loss) for piece in pieces] == [4, 3, 1, 2]
    assert (account.rows, account.truncated) == (4, 0)
    assert dict(account.dropped) == {"it is an empty document": 1}


def test_the_encoder_of_a_run_learns_what_its_config_says() -> None:
    config = TrainConfig(base_model="m", loss_on="last", reasoning="drop", max_length=99)
    encoder = Encoder.of(byte_tokenizer(), config)
    assert (encoder.loss_on, encoder.reasoning, encoder.max_length) == ("last", "drop", 99)
    assert Encoder.of(byte_tokenizer(), config.model_copy(update={"method": "pretrain"})).loss_on == "all"


def test_why_rows_of_the_random_arm_were_left_out_is_told(write_mix: WriteMix) -> None:
    short, long = ({"instruction": "a" * n, "output": "b"} for n in (1, 90))
    encoder = Encoder(byte_tokenizer(), max_length=60)
    config = TrainConfig(base_model="m", max_length=60, arm="random")
    data = training_set(MixFolder(write_mix(train=[short] * 2, random=[long, short, short])), config, encoder)
    assert (data.account.rows, dict(data.account.dropped)) == (2, {"its answer lies beyond max_length 60": 1})
    with pytest.raises(WinnowError, match=r"the commonest reason \(1 rows\): its answer lies beyond") as raised:
        training_set(MixFolder(write_mix(train=[short], random=[long])), config, encoder)
    assert raised.value.fix == "raise max_length (it is 60)"


@pytest.mark.parametrize("arm", ["mix", "random"])
def test_a_pair_whose_rejected_answer_is_cut_counts_as_cut(arm: str, write_mix: WriteMix) -> None:
    def said(text: str) -> list[dict[str, str]]:
        return [{"role": "assistant", "content": text}]

    asked = [{"role": "user", "content": "a"}]
    rows = [{"prompt": asked, "chosen": said("b"), "rejected": said("c" * n)} for n in (1, 90)]
    config = TrainConfig(base_model="m", method="dpo", max_length=60, arm=arm)
    mix = MixFolder(write_mix(train=rows, random=rows))
    data = training_set(mix, config, Encoder(byte_tokenizer(), max_length=60), pairs=True)
    assert (data.account.rows, data.account.truncated) == (2, 1)
