from __future__ import annotations

from typing import Any

import pytest

from tests.training.conftest import CHATML, byte_tokenizer
from training.data.encoding import Account, Encoded, Encoder, prefix_of_tokens, rejected_side
from training.data.mix_folder import example

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
