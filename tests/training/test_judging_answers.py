from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from curation.errors import WinnowError
from tests.training.conftest import WriteMix, byte_tokenizer
from training.data.mix_folder import MixFolder
from training.judging.answers import (
    Answer,
    AnswerBook,
    Prompt,
    held_out_prompts,
    prompts_in,
    read_answers,
    written_down,
)
from training.judging.generation import end_tokens, generated, prompt_ids
from training.judging.verified import code_tests_of, final_answers_of, score

SUM = {"id": "s", "source": "sums", "instruction": "1 plus 1?", "output": "It is 2.\n#### 2"}


def answer(text: str, model: str = "trained", **fields: Any) -> Answer:
    told = {"id": "s", "source": "sums", "prompt": [{"role": "user", "content": "1 plus 1?"}], "reference": None}
    written = {"finish_reason": "stop", "tokens": 3, "weights": "w", "settings": "x"}
    return Answer(**{**told, "model": model, "answer": text, **written, **fields})


def test_held_out_prompts_are_drawn_by_their_ids_and_the_last_answer_is_to_be_written(write_mix: WriteMix) -> None:
    turns = [("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")]
    chat = {"id": "c", "messages": [{"role": role, "content": text} for role, text in turns]}
    mix = MixFolder(write_mix(eval=[SUM, chat, {"id": "t", "text": "a document"}]))
    found = {p.id: p for p in held_out_prompts(mix, 10, lambda row: row)}
    assert found.keys() == {"s", "c"}
    assert [m["content"] for m in found["c"].messages] == ["a", "b", "c"]
    assert found["c"].reference == "d"
    assert held_out_prompts(mix, 1, lambda row: row) == held_out_prompts(mix, 2, lambda row: row)[:1]


def test_prompts_of_a_file_are_texts_or_rows_of_a_format(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text(json.dumps({"prompt": "Say yes", "reference": "yes"}) + "\n" + json.dumps(SUM) + "\n")
    first, second = prompts_in(file, None)
    assert (first.question, first.reference, first.source) == ("Say yes", "yes", "mine")
    assert (second.id, second.question) == ("s", "1 plus 1?")
    assert len(prompts_in(file, 1)) == 1


def lines(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_prompt_without_an_id_keeps_its_name_where_lines_move(tmp_path: Path) -> None:
    one, two = {"prompt": "Say yes", "reference": "yes"}, {"prompt": "Say no"}
    before = {p.question: p.id for p in prompts_in(lines(tmp_path / "a.jsonl", one, two), None)}
    assert {p.question: p.id for p in prompts_in(lines(tmp_path / "b.jsonl", two, one, two), None)} == before
    assert len(set(before.values())) == 2


def test_two_prompts_with_one_id_are_refused_as_their_answers_would_be_mixed_up(
    tmp_path: Path, write_mix: WriteMix
) -> None:
    file = lines(tmp_path / "p.jsonl", {"id": "a", "prompt": "One?"}, {"id": "a", "prompt": "Two?"})
    with pytest.raises(WinnowError, match=r"Two different prompts in .*p\.jsonl have the id a"):
        prompts_in(file, None)
    mix = MixFolder(write_mix(eval=[SUM, {**SUM, "instruction": "2 plus 2?"}]))
    with pytest.raises(WinnowError, match="have the id s"):
        held_out_prompts(mix, 10, lambda row: row)


def test_what_an_answer_is_checked_by_comes_with_the_row(tmp_path: Path, write_mix: WriteMix) -> None:
    checks = {"tests": ["assert f(1) == 2"], "entry_point": "f"}
    mix = MixFolder(write_mix(eval=[{**SUM, **checks}]))
    assert held_out_prompts(mix, 1, lambda row: row)[0].metadata == checks
    row, prompt = prompts_in(lines(tmp_path / "p.jsonl", {**SUM, **checks}, {"prompt": "f?", **checks}), None)
    assert (row.metadata, prompt.metadata) == (checks, checks)


def test_a_reference_may_be_a_number_and_nothing_else_but_a_text(tmp_path: Path) -> None:
    assert prompts_in(lines(tmp_path / "p.jsonl", {"prompt": "2 plus 2?", "reference": 4}), None)[0].reference == "4"
    with pytest.raises(WinnowError, match="holds no prompt"):
        prompts_in(lines(tmp_path / "p.jsonl", {"prompt": "2 plus 2?", "reference": {"a": 4}}), None)


def test_a_file_of_prompts_in_another_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_bytes('{"prompt": "你好"}\n'.encode("gbk"))
    with pytest.raises(WinnowError, match="are not UTF-8") as error:
        prompts_in(tmp_path / "p.jsonl", None)
    assert error.value.fix == "save the file as UTF-8"


@pytest.mark.parametrize("line", ['{"prompt": ""}', '{"a": 1}', "[]", "{", '{"prompt": [{"role": "user"}]}'])
def test_a_line_without_a_prompt_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "p.jsonl").write_text(line + "\n")
    with pytest.raises(WinnowError, match=r"p\.jsonl:1 holds no prompt"):
        prompts_in(tmp_path / "p.jsonl", None)


def test_equal_weights_are_never_asked_the_same_again_also_by_a_neighbour(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    prompt = Prompt("s", "sums", ({"role": "user", "content": "1 plus 1?"},), "2")
    written = {"answer": "2", "finish_reason": "stop", "tokens": 2}
    AnswerBook(tmp_path / "one").add([written_down(prompt, "base", "w", "x", written)])
    second = AnswerBook(tmp_path / "two", [tmp_path / "one"])
    assert second.found(prompt, "trained", "other", "x") is None
    assert second.found(prompt, "base", "w", "x") is not None
    assert [a.answer for a in read_answers(tmp_path / "two")] == ["2"]
    assert AnswerBook(tmp_path / "two").found(prompt, "base", "w", "x") is not None
    assert len((tmp_path / "two" / "answers.jsonl").read_text().splitlines()) == 1


def test_a_line_that_was_cut_off_costs_that_answer_alone(tmp_path: Path) -> None:
    AnswerBook(tmp_path).add([answer("2", "base")])
    with (tmp_path / "answers.jsonl").open("a") as file:
        file.write('{"id": "s", "mod')
    AnswerBook(tmp_path).add([answer("3")])
    assert [a.answer for a in read_answers(tmp_path)] == ["2", "3"]


def test_prompts_of_different_lengths_are_answered_in_a_batch_as_alone(tiny_model: Path) -> None:
    from transformers import AutoModelForCausalLM

    model, tokenizer = AutoModelForCausalLM.from_pretrained(tiny_model), byte_tokenizer()
    prompts = [prompt_ids(tokenizer, [{"role": "user", "content": text}]) for text in ("hello there", "a", "x" * 190)]
    together = dict(generated(model, tokenizer, prompts, most_tokens=12))
    alone = {i: next(generated(model, tokenizer, [ids], most_tokens=12))[1] for i, ids in enumerate(prompts)}
    assert together == alone
    assert [len(together[i].answer.encode()) <= 40 for i in range(3)] == [True] * 3
    assert together[0].finish_reason in ("stop", "length")
    assert end_tokens(tokenizer) == [tokenizer.eos_token_id]
    # The window has 256 tokens: what a long prompt leaves is written and no more.
    assert together[2].tokens <= 256 - len(prompts[2])


def test_a_final_answer_is_checked_against_the_metadata_or_a_marked_reference() -> None:
    marked = {"reference": "1 + 1 = 2\n#### 2"}
    rows = score(
        [
            answer("The answer is 2.", "base", **marked),
            answer("I am not sure.", **marked),
            answer("It is 3", "random", **marked),
        ],
        {},
    )
    assert [row["final_answer"] for row in rows] == [True, False, False]
    assert rows[1]["final_answer_reason"] == "the answer names no final answer"
    judged = final_answers_of(rows)
    assert [(s.model, s.right, s.answers) for s in judged.shares] == [
        ("base", 1, 1),
        ("trained", 0, 1),
        ("random", 0, 1),
    ]
    assert judged.gained is not None
    assert judged.gained.mean == -1.0
    assert score([answer("2")], {"s": {"ground_truth": "2"}})[0]["final_answer"] is True
    assert score([answer("There are 2.", reference="Tea has 3 parts.")], {})[0]["final_answer"] is None


def test_code_is_run_against_the_tests_of_the_metadata() -> None:
    tests = {"s": {"test_list": ["assert double(2) == 4", "assert double(3) == 6"]}}
    rows = score([answer("def double(n):\n    return n * 2"), answer("def double(n):\n    return 4", "base")], tests)
    assert [row["code_tests"] for row in rows] == [1.0, 0.5]
    assert score([answer("I can't.", "random")], tests)[0]["code_tests"] == 0.0
    passed = code_tests_of(rows)
    assert [(s.model, s.right) for s in passed.shares] == [("base", 0), ("trained", 1)]
    nothing = code_tests_of(score([answer("2")], {}))
    assert (nothing.shares, nothing.reason) == ([], "the metadata hold no tests")


def test_where_no_program_can_be_run_an_answer_without_code_is_not_wrong_either() -> None:
    tests = {"s": {"test_list": ["assert double(2) == 4"]}}
    program = "import no_such_module\n\ndef double(n):\n    return n * 2"
    rows = score([answer(program), answer("I can't.", "base")], tests)
    assert [row["code_tests"] for row in rows] == [None, None]
    assert rows[1]["code_tests_reason"] == "no program could be run here"


def test_a_gain_of_four_answers_is_not_proven_by_resampling_them() -> None:
    # Four gained and none lost: McNemar's exact test gives p = 0.125.
    rows = []
    for n in range(20):
        rows += [
            {"id": str(n), "model": model, "final_answer": right, "final_answer_reason": None}
            for model, right in (("trained", True), ("base", n >= 4))
        ]
    gained = final_answers_of(rows).gained
    assert gained is not None
    assert gained.mean == pytest.approx(0.2)
    assert (gained.low or 0) < 0 < (gained.high or 0)
