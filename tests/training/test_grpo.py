from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from curation.errors import WinnowError
from tests.training.conftest import WriteMix, byte_tokenizer
from training.config import TrainConfig
from training.data.encoding import Encoder
from training.data.mix_folder import MixFolder
from training.methods.grpo import batches_of_groups, prompt_set
from training.runs.run_folder import events, status
from training.training import prepare
from training.worker import Worker

WORDS = ("kettle", "orange", "winter", "雨", "violin", "harbour")


pytestmark = pytest.mark.usefixtures("one_thread")


def row(asked: str, answer: str = "fine", **more: Any) -> dict[str, Any]:
    turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
    return {"id": asked, "messages": turns, "source": "demo", **more}


def config(base: Path | str = "base", **more: Any) -> TrainConfig:
    fields = {
        "base_model": str(base),
        "method": "grpo",
        "adapter": "full",
        "rewards": ("length", "no-repetition"),
        "answers_per_prompt": 4,
        "max_answer_tokens": 12,
        "batch_size": 8,
        "max_length": 128,
        "max_steps": 3,
        "save_steps": 2,
        "eval_steps": None,
        "sample_answers": 0,
        "learning_rate": 1e-2,
    }
    return TrainConfig.checked({**fields, **more})


# ------------------------------------------------------------------ whole groups


@pytest.mark.parametrize(
    ("batch", "accumulation", "processes", "answers", "expected"),
    [
        (8, 1, 1, 8, (1, 1)),  # one group
        (2, 1, 1, 8, (4, 1)),  # four passes for one group
        (3, 1, 1, 8, (8, 3)),  # 24 answers: the first multiple of 3 that 8 divides
        (8, 3, 1, 16, (4, 2)),  # 24 are one and a half groups: 32
        (4, 1, 2, 8, (1, 1)),  # a group over two processes
        (6, 2, 1, 4, (2, 3)),  # 12 answers, three groups, nothing to round
    ],
)
def test_accumulation_is_raised_until_a_step_holds_whole_groups(
    batch: int, accumulation: int, processes: int, answers: int, expected: tuple[int, int]
) -> None:
    size = batches_of_groups(
        config(batch_size=batch, accumulation=accumulation, processes=processes, answers_per_prompt=answers)
    )
    assert (size.accumulation, size.prompts) == expected
    assert size.answers == batch * processes * size.accumulation == size.prompts * answers


# ------------------------------------------------------------------ prompts


def prompts(mix: Path, **more: Any) -> Any:
    settings = config(**more)
    return prompt_set(MixFolder(mix), settings, Encoder(byte_tokenizer(), max_length=settings.max_length))


def test_rows_that_can_not_be_verified_are_dropped_and_counted_with_their_reason(write_mix: WriteMix) -> None:
    mix = write_mix(
        train=[
            row("6 * 7?", "6 * 7 = 42\n#### 42"),
            row("A poem?", "A long poem about 3 ships\nand the sea"),
            row("5 + 5?", "Five and five.\n", reference="10"),
            row("x" * 120, "#### 1"),
        ]
    )
    found = prompts(mix, rewards="final-answer,length")
    assert [e.id for e in found.examples] == ["6 * 7?", "5 + 5?"]
    assert dict(found.account.dropped) == {
        "its answers can't be verified: no final answer is known": 1,
        "its prompt has more than 116 tokens, max_length less max_answer_tokens": 1,
    }


def test_a_row_is_its_prompt_with_the_header_of_an_answer_and_carries_no_loss(write_mix: WriteMix) -> None:
    found = prompts(write_mix(train=[row("你好", "hello")]))
    assert byte_tokenizer().decode(found.rows[0].ids) == "<|im_start|>user\n你好<|im_end|>\n<|im_start|>assistant\n"
    assert not any(found.rows[0].loss)


def test_the_random_arm_has_as_many_tokens(write_mix: WriteMix) -> None:
    rows = [row(f"{word} {n}") for word in WORDS for n in range(3)]
    found = prompts(write_mix(train=rows[:4], random=rows[4:]), arm="random")
    assert abs(found.account.tokens - found.mix_tokens) <= 15
    assert [e.id for e in found.examples] == [r["id"] for r in rows[4 : 4 + len(found.rows)]]


def test_no_row_left_is_two_lines_with_the_commonest_reason(write_mix: WriteMix) -> None:
    with pytest.raises(WinnowError) as refused:
        prompts(write_mix(train=[row("A poem?", "A poem\nof two lines")]), rewards="final-answer")
    assert "(1 rows): its answers can't be verified: no final answer is known" in refused.value.message
    assert refused.value.fix == "choose rewards that fit the mix"


def test_answers_that_leave_no_room_for_a_prompt_are_refused(write_mix: WriteMix) -> None:
    with pytest.raises(WinnowError, match="leaves no room"):
        prompts(write_mix(train=[row("hello")]), max_answer_tokens=128)


# ------------------------------------------------------------------ training


class AfterSteps:
    """Asks to stop after so many steps; it is asked once before the first."""

    def __init__(self, steps: int) -> None:
        self._left = steps + 1

    def __call__(self) -> bool:
        self._left -= 1
        return self._left == 0


@pytest.fixture(scope="module")
def mix(write_mix: WriteMix) -> Path:
    return write_mix(train=[row(word) for word in WORDS[:4]], eval=[row(word) for word in WORDS[4:]])


@pytest.fixture(scope="module")
def trained(mix: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("grpo") / "whole"
    assert Worker(prepare(mix, config(tiny_model), folder).path).work()
    return events(folder)


def of(told: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [event for event in told if event["type"] == kind]


def test_a_run_logs_rewards_by_function_lengths_spread_and_divergence(trained: list[dict[str, Any]]) -> None:
    logs = of(trained, "log")
    assert [log["step"] for log in logs] == [1, 2, 3]
    for log in logs:
        assert set(log["rewards"]) == {"length", "no-repetition"}
        assert log["reward"] == pytest.approx(sum(log["rewards"].values()), abs=1e-6)
        assert 0 <= log["no_spread"] <= 1
        assert 1 <= log["answer_tokens"] <= 12
        assert 0 <= log["cut_off"] <= 1
        assert {"kl", "repetition"} <= set(log)
    assert logs[0]["kl"] == pytest.approx(0, abs=1e-5)  # the reference is where the model begins


def test_held_out_prompts_are_answered_greedily_before_and_after(trained: list[dict[str, Any]]) -> None:
    before, after = of(trained, "held_out")
    assert (before["step"], after["step"]) == (0, 3)
    assert before["prompts"] == 2
    assert before["reward"] == pytest.approx(sum(before["rewards"].values()))
    assert before["objective"] == -before["reward"]
    assert -2 <= before["reward"] <= 0


def test_a_stopped_run_goes_on_with_the_answers_and_losses_of_an_uninterrupted_one(
    mix: Path, tiny_model: Path, tmp_path: Path, trained: list[dict[str, Any]]
) -> None:
    folder = prepare(mix, config(tiny_model), tmp_path / "parts").path
    assert Worker(folder, stop_asked=AfterSteps(2)).work()
    assert status(folder).state == "stopped"
    assert Worker(folder).work()
    told = events(folder)
    for key in ("loss", "reward", "answer_tokens", "kl", "grad_norm"):
        assert [log[key] for log in of(told, "log")] == [log[key] for log in of(trained, "log")]
    assert of(told, "held_out")[-1]["reward"] == of(trained, "held_out")[-1]["reward"]


def test_a_run_whose_answers_never_differ_says_so(tiny_model: Path, write_mix: WriteMix, tmp_path: Path) -> None:
    mix = write_mix(train=[row("6 * 7?", "#### 42"), row("7 * 7?", "#### 49")])
    settings = config(tiny_model, rewards="final-answer", max_steps=1, batch_size=2, max_answer_tokens=2)
    folder = prepare(mix, settings, tmp_path / "run").path
    assert Worker(folder).work()
    notes = [event["text"] for event in of(events(folder), "note")]
    assert notes[0] == "accumulation is 2, not 1: a step holds whole groups of 4 answers, 1 prompts."
    assert notes[1].startswith("No prompt had answers of different reward. Nothing is learned from them: ")


def test_fewer_prompts_than_a_step_takes_are_refused(tiny_model: Path, write_mix: WriteMix, tmp_path: Path) -> None:
    folder = prepare(write_mix(train=[row("hello")]), config(tiny_model), tmp_path / "run").path
    assert not Worker(folder).work()
    assert status(folder).message == "A step takes 2 prompts (8 answers), and there are 1."
