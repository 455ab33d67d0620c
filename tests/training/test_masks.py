"""What carries loss, for every file of real data that can be ingested, written out and compared."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import pytest

from curation.files.formats import FORMATS
from curation.files.shapes import Unreadable, to_sample
from curation.sample import Sample
from tests.data import shared
from tests.training.templates import STYLES, tokenizer_of
from tests.training.test_encoding import carrying
from training.data.encoding import Encoded, Encoder, rejected_side
from training.data.mix_folder import Example, example
from training.data.packing import packed
from training.data.rows import columns

CALL = {
    "marked": '<tool_call>\n{"arguments": {"birthdate": "1990-05-15"}, "name": "calculate_age"}\n</tool_call>',
    "headers": '{"name": "calculate_age", "parameters": {"birthdate": "1990-05-15"}}',
    "brackets": '[TOOL_CALLS]{"arguments": {"birthdate": "1990-05-15"}, "name": "calculate_age"}',
    "thinking": '<tool_call>{"arguments": {"birthdate": "1990-05-15"}, "name": "calculate_age"}</tool_call>',
}
"""The tool call of the row below as each chat template writes it."""


class Expected(NamedTuple):
    """A row of a file, and the answers in it, every one of which carries loss."""

    row: int
    answers: tuple[str, ...]
    rejected: str | None = None


FILES = {
    "alpaca_data.json": Expected(287, ("11",)),
    "alpaca_en_demo.json": Expected(91, ("(555) 123-4567",)),
    "alpaca_zh_27k.json": Expected(236, ("不支持。",)),
    "alpaca_zh_demo.json": Expected(124, ("10比9大。",)),
    "code_alpaca_2k.json": Expected(268, ("String",)),
    "dpo_en_demo.json": Expected(
        134, ("6778576 - 84834150134 = -84827371558",), "84834150134 - 6778576 = -16666579378"
    ),
    "dpo_zh_demo.json": Expected(
        107,
        ("有人听到了声音。",),
        "当然，我很乐意帮忙！这是一个使用主动语态和给定词汇的句子：\n听众听到了一阵声音。",
    ),
    "fastchat_dummy.json": Expected(87, ("I'm created by Large Model Systems Organization (LMSYS).", "You too!")),
    "glaive_toolcall_en_demo.json": Expected(
        119, ("CALL", "Based on the birthdate you provided, you are 31 years old.")
    ),
    "gpteacher_codegen.json": Expected(51, ("#!/bin/bash\n\nls -lt",)),
    "gpteacher_roleplay.json": Expected(52, ("*Grrrrowwwrrr wrrhwrwwhw wraaargh*",)),
    "gsm8k_test.jsonl": Expected(
        117, ("He bought 3*2=<<3*2=6>>6 pairs of shoes\nSo he spent 60*6=$<<60*6=360>>360\n#### 360",)
    ),
    "gsm8k_train.jsonl": Expected(
        132, ("He bought 5*4=<<5*4=20>>20 pounds of beef\nSo he paid 20*5.5=$<<20*5.5=110>>110\n#### 110",)
    ),
    "kto_en_demo.json": Expected(147, ("660 - 549695 = -549035",)),
    "selfinstruct_seed.jsonl": Expected(25, ("6, 28, 496, and 8128",)),
    "t0_55k.parquet": Expected(246, ("devices<|endoftext|>",)),
    "alpaca_eval/outputs.parquet": Expected(
        195,
        (
            "The apple is now in the dining room, underneath the plate, based on the sequence of actions described. "
            "When you moved the plate from the kitchen to the dining room, the apple, which was on the plate, went "
            "with it. So, the apple is now located in the dining room, still resting under the plate on the table.",
        ),
    ),
    "alpaca_eval/preferences.parquet": Expected(
        199,
        ("Test",),
        "**TEST** \n\nWas that what you needed? If you'd like to run a specific test or have a particular purpose in "
        "mind, please let me know! 😊",
    ),
}

NOTHING_TO_LEARN = {
    "humaneval.jsonl": "a benchmark in a shape of its own",
    "mt_bench.jsonl": "a benchmark: questions alone",
    "gsm8k_model_solutions.jsonl": "four judged solutions a row, in columns that --map must name",
    "instructionwild_broken_escapes.jsonl": "instructions without answers",
}


@cache
def row_of(name: str, number: int) -> dict[str, Any]:
    path = shared(f"data/{name}")
    if path.suffix == ".json":
        return dict(json.loads(path.read_text(encoding="utf-8"))[number])
    if path.suffix == ".parquet":
        import polars as pl

        return pl.scan_parquet(path).slice(number, 1).collect().row(0, named=True)
    with path.open(encoding="utf-8") as lines:
        return dict(json.loads(next(line for i, line in enumerate(lines) if i == number)))


def examples_of(name: str) -> Iterator[tuple[str, Example]]:
    """The file's row in every format that a mix can hold it in, as a row that was written and read."""
    sample = to_sample(row_of(name, FILES[name].row), name)
    for format_name, as_row in FORMATS.items():
        row = as_row(sample)
        if not isinstance(row, str):
            yield format_name, example(json.loads(json.dumps({**row, "id": name, "source": name})))


def expected_of(name: str, format_name: str, style: str) -> list[str]:
    """The answers as this style ends them; the formats that hold one answer hold the last."""
    _, end = STYLES[style]
    written = [CALL[style] if answer == "CALL" else answer for answer in FILES[name].answers]
    # Between the brackets and an answer there is a space, which the model has to write.
    space = " " if style == "brackets" else ""
    ended = [(text if text.startswith("[TOOL") else space + text) + end for text in written]
    return ended[-1:] if format_name in ("prompt-completion", "unpaired-preference", "preference") else ended


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", FILES)
def test_only_the_answers_of_a_real_row_carry_loss(name: str, style: str) -> None:
    tokenizer = tokenizer_of(style)
    encoder = Encoder(tokenizer, max_length=4096)
    for format_name, row in examples_of(name):
        assert (format_name, carrying(encoder.encode(row), tokenizer)) == (
            format_name,
            expected_of(name, format_name, style),
        )


@pytest.mark.parametrize("name", [name for name, expected in FILES.items() if expected.rejected])
def test_the_rejected_side_of_a_real_pair_carries_loss_on_the_rejected_answer_alone(name: str) -> None:
    tokenizer = tokenizer_of("headers")
    row = dict(examples_of(name))["preference"]
    rejected = Encoder(tokenizer, max_length=4096).encode(rejected_side(row))
    assert carrying(rejected, tokenizer) == [f"{FILES[name].rejected}<|eot_id|>"]


@pytest.mark.parametrize("style", STYLES)
def test_in_packed_rows_the_labels_of_every_real_row_are_those_it_has_alone(style: str) -> None:
    tokenizer = tokenizer_of(style)
    encoder = Encoder(tokenizer, max_length=900)
    samples = [encoder.encode(dict(examples_of(name))["messages"]) for name in FILES if "kto" not in name]
    encoded = [sample for sample in samples if isinstance(sample, Encoded) and not sample.truncated]
    assert len(encoded) >= 15
    rows = packed([len(sample.ids) for sample in encoded], 900, "best-fit")
    assert len(rows) < len(encoded) / 2
    made = columns(encoded, rows, {"number": list(range(len(encoded)))})
    seen = []
    for labels, lengths, numbers in zip(made["labels"], made["seq_lengths"], made["number"], strict=True):
        for length in lengths:
            own, labels = labels[:length], labels[length:]
            (number,) = set(numbers[:length])
            numbers = numbers[length:]
            seen.append(encoded[number].id)
            text = tokenizer.decode([label for label in own if label != -100])
            assert text == "".join(expected_of(encoded[number].source, "messages", style))
    assert sorted(seen) == sorted(sample.id for sample in encoded)


def test_in_wrapped_rows_the_labels_one_after_the_other_are_those_of_all_real_rows() -> None:
    tokenizer = tokenizer_of("headers")
    encoder = Encoder(tokenizer, max_length=900)
    encoded = [e for name in FILES if isinstance(e := encoder.encode(next(examples_of(name))[1]), Encoded)]
    rows = packed([len(sample.ids) for sample in encoded], 100, "wrapped")
    made = columns(encoded, rows, {})
    assert {len(ids) for ids in made["input_ids"][:-1]} == {100}
    learned = [label for labels in made["labels"] for label in labels if label != -100]
    assert tokenizer.decode(learned) == "".join("".join(carrying(sample, tokenizer)) for sample in encoded)


def test_every_file_of_real_data_is_either_in_this_test_or_has_nothing_to_learn() -> None:
    folder = shared("data")
    found = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.suffix in (".json", ".jsonl", ".parquet")}
    assert found == set(FILES) | set(NOTHING_TO_LEARN)
    for name in NOTHING_TO_LEARN:
        assert refused(row_of(name, 0), name)


def refused(row: dict[str, Any], name: str) -> bool:
    try:
        sample: Sample = to_sample(row, name)
    except Unreadable:
        return True
    return all(isinstance(as_row(sample), str) for as_row in FORMATS.values())
