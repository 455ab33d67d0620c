from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from curation.errors import WinnowError
from studio.commands.iterating import iterate_dpo as command
from tests.synthesis.loopback import Loopback
from tests.training.conftest import WriteMix
from training.config import TrainConfig
from training.data.mix_folder import example
from training.iterating import IterateReport, JudgeRater, Plan, Round, VerifiedRater, iterate_dpo
from training.iterating.pairing import CUT_OFF, EMPTY, SAME_REWARD, SAME_TEXT, paired
from training.iterating.plan import material_of
from training.iterating.rounds import best_round, rounds_without_rise
from training.rewards import Answer
from training.training import TrainReport, prepare, report
from training.worker import Worker

WORDS = ("kettle", "orange", "winter", "雨", "violin", "harbour", "river", "garden", "moon", "sugar", "letter", "bread")


pytestmark = pytest.mark.usefixtures("one_thread")


def row(asked: str, answer: str = "fine") -> dict[str, Any]:
    turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
    return {"id": asked, "messages": turns, "source": "demo"}


# ------------------------------------------------------------------ pairs


def pair_of(*answers: tuple[str, float | None], ended: bool = True) -> Any:
    written = [Answer(text, len(text), 100, ended) for text, _ in answers]
    return paired([example(row("Why?"))], [written], [[(value, "unknown") for _, value in answers]])


def test_the_best_answer_is_preferred_to_the_worst_with_both_ratings() -> None:
    (made,) = pair_of(("so", 0.5), ("right", 1.0), ("right too", 1.0), ("wrong", 0.0)).rows
    assert made == {
        "id": "Why?",
        "prompt": [{"role": "user", "content": "Why?"}],
        "chosen": [{"role": "assistant", "content": "right"}],
        "rejected": [{"role": "assistant", "content": "wrong"}],
        "chosen_reward": 1.0,
        "rejected_reward": 0.0,
        "source": "demo",
    }


def test_prompts_without_a_difference_are_dropped_with_their_reason() -> None:
    assert pair_of(("a", 1.0), ("b", 1.0)).dropped == {SAME_REWARD: 1}
    assert pair_of(("a", 1.0), ("b", 0.0), ended=False).dropped == {CUT_OFF: 1}
    assert pair_of((" ", 1.0), ("b", 0.0)).dropped == {EMPTY: 1}
    assert pair_of(("a", 1.0), ("a ", 0.0)).dropped == {SAME_TEXT: 1}
    assert pair_of(("a", 1.0), ("b", None)).dropped == {"fewer than two of its answers could be rated: unknown": 1}


def test_no_pair_at_all_is_one_sentence() -> None:
    assert pair_of(("a", 0.0), ("b", 0.0)).why_none == "No prompt had answers of different reward."
    assert pair_of((" ", 1.0), ("b", 0.0)).why_none.endswith("(1 prompts): its best answer is empty.")


# ------------------------------------------------------------------ when to stop


def rounds_of(accuracies: list[float | None], rewards: list[float | None] | None = None) -> list[Round]:
    rewards = rewards or [None] * (len(accuracies) + 1)
    pairs = sum(accuracy is not None for accuracy in accuracies)
    return [
        Round(n, "", "", 1, 1, {}, 0.0, 1.0, rewards[n - 1], rewards[n], None, pairs, accuracy, None, None, None)
        for n, accuracy in enumerate(accuracies, 1)
    ]


@pytest.mark.parametrize(
    ("accuracies", "best", "waited"),
    [
        ([0.6], 1, 0),
        ([0.6, 0.7], 2, 0),
        ([0.6, 0.6], 1, 1),
        ([0.6, 0.8, 0.7, 0.8], 2, 2),
        ([0.4], 0, 1),  # worse than the model it began with, of which half of the pairs are right by chance
    ],
)
def test_rounds_are_counted_since_the_best_one(accuracies: list[float | None], best: int, waited: int) -> None:
    assert best_round(rounds_of(accuracies)) == best
    assert rounds_without_rise(rounds_of(accuracies)) == waited


def test_of_equal_accuracies_the_higher_held_out_reward_is_a_rise() -> None:
    assert best_round(rounds_of([1.0, 1.0], rewards=[0.0, 0.0, 0.5])) == 2


def test_without_held_out_pairs_the_reward_decides_and_without_any_measure_nothing_does() -> None:
    by_reward = rounds_of([None, None], rewards=[0.1, 0.3, 0.2])
    assert (best_round(by_reward), rounds_without_rise(by_reward)) == (1, 1)
    assert (best_round(rounds_of([None, None])), rounds_without_rise(rounds_of([None, None]))) == (2, 0)


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"adapter": "prefix"}, "Round 2 would train on an adapter of virtual tokens"),
        ({"adapter": "qlora"}, "qlora holds the base in 4 bits"),
        ({"processes": 2, "strategy": "ddp", "offload": True}, "Nothing can be offloaded"),
        ({"patience": 2}, "there is none on the way"),
        ({"base_model": "./nowhere"}, "There is no base model"),
    ],
)
def test_what_a_round_would_refuse_is_refused_before_an_answer_is_written(
    fields: dict[str, Any], message: str, mix: Path, tiny_model: Path, tmp_path: Path
) -> None:
    plan = plan_of(mix, tiny_model, tmp_path)
    with pytest.raises(WinnowError, match=message):
        iterate_dpo(replace(plan, config=plan.config.model_copy(update=fields)), training=Here())
    assert not list(tmp_path.iterdir())


def test_prompts_are_read_with_reasoning_kept_or_dropped_as_the_config_says(
    mix: Path, tiny_model: Path, tmp_path: Path
) -> None:
    plan = plan_of(mix, tiny_model, tmp_path)
    dropping = replace(plan, config=plan.config.model_copy(update={"reasoning": "drop"}))
    assert (material_of(plan).encoder.reasoning, material_of(dropping).encoder.reasoning) == ("keep", "drop")


@pytest.mark.parametrize(("word", "fix"), [("rewards=length", "give --rewards"), ("method=sft", "leave it out")])
def test_settings_that_the_command_does_not_read_are_refused(word: str, fix: str, mix: Path, tiny_model: Path) -> None:
    words = [str(mix), "--name", "own", "--base-model", str(tiny_model), "--set", word]
    refused = CliRunner().invoke(command, words).exception
    assert isinstance(refused, WinnowError)
    assert fix in refused.fix


# ------------------------------------------------------------------ rounds


class Here:
    """Trains in this process, which saves the start of another one; stops before a run when told so."""

    def __init__(self, stops_before: int | None = None) -> None:
        self.runs: list[str] = []
        self._stops_before = stops_before

    def __call__(self, mix: Path, config: TrainConfig, run: Path) -> TrainReport:
        if len(self.runs) == self._stops_before:
            raise KeyboardInterrupt
        folder = prepare(mix, config, run).path
        if report(run).state != "done":
            self.runs.append(run.name)
            Worker(folder).work()
        return report(run)


@pytest.fixture(scope="module")
def mix(write_mix: WriteMix) -> Path:
    return write_mix(train=[row(word) for word in WORDS[:5]], eval=[row(word) for word in WORDS[5:]])


def plan_of(mix: Path, base: Path, home: Path, **more: Any) -> Plan:
    config = TrainConfig.checked(
        {
            "base_model": str(base),
            "method": "dpo",
            "adapter": "full",
            "max_length": 64,
            "max_steps": 2,
            "eval_steps": None,
            "sample_answers": 0,
            "answers_per_prompt": 24,
            "max_answer_tokens": 16,
            "learning_rate": 1e-3,
        }
    )
    given = {"rater": VerifiedRater(("length", "no-repetition")), "rounds": 2, "patience": 5, **more}
    return Plan(mix, config, "own", home / "runs", home / "mixes", **given)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def made(mix: Path, tiny_model: Path, home: Path) -> IterateReport:
    with pytest.raises(KeyboardInterrupt):  # stopped before the training of round 2
        iterate_dpo(plan_of(mix, tiny_model, home), training=Here(stops_before=1))
    return iterate_dpo(plan_of(mix, tiny_model, home), training=Here())


def test_each_round_begins_with_the_model_of_the_round_before(made: IterateReport, tiny_model: Path) -> None:
    first, second = made.rounds
    begun = [json.loads((Path(r.run) / "config.json").read_text())["base_model"] for r in made.rounds]
    assert begun == [str(tiny_model), str(Path(first.run) / "final")]
    assert not any("not used" in note for r in made.rounds for note in report(r.run).notes)
    assert [r.number for r in made.rounds] == [1, 2]
    assert second.held_out_before == first.held_out_after
    assert made.stopped == "2 rounds were asked for"
    assert made.model == (str(Path(made.rounds[made.best - 1].run) / "final") if made.best else str(tiny_model))


def test_the_pairs_of_a_round_are_a_mix_that_tells_where_they_are_from(made: IterateReport, mix: Path) -> None:
    for one in made.rounds:
        rows = [json.loads(line) for line in (Path(one.mix) / "train.jsonl").read_text().splitlines()]
        manifest = json.loads((Path(one.mix) / "manifest.json").read_text())
        assert len(rows) == one.pairs > 0
        assert one.pairs + sum(one.dropped.values()) == one.prompts == 5
        assert all(r["chosen_reward"] > r["rejected_reward"] for r in rows)
        assert manifest["round"] == one.number
        assert manifest["judged_by"] == "length + no-repetition"
        assert manifest["prompts_of"] == str(mix)


def test_every_round_is_measured_on_the_same_held_out_pairs_with_an_interval(made: IterateReport) -> None:
    first, second = ((Path(r.mix) / "eval.jsonl").read_bytes() for r in made.rounds)
    assert first == second
    assert made.held_out_pairs == len(first.splitlines()) > 0
    for one in made.rounds:
        assert one.low is not None
        assert one.high is not None
        assert one.accuracy is not None
        assert one.low <= one.accuracy <= one.high


def test_a_call_that_is_over_does_nothing_when_it_is_made_again(
    made: IterateReport, mix: Path, tiny_model: Path, home: Path
) -> None:
    before = {path: path.stat().st_mtime_ns for path in home.rglob("*")}
    training = Here()
    assert iterate_dpo(plan_of(mix, tiny_model, home), training=training) == made
    assert training.runs == []
    assert {path: path.stat().st_mtime_ns for path in home.rglob("*")} == before


def test_answers_that_never_differ_are_two_lines(tiny_model: Path, write_mix: WriteMix, tmp_path: Path) -> None:
    sums = write_mix(train=[row("6 * 7?", "#### 42")])
    with pytest.raises(WinnowError) as refused:
        iterate_dpo(plan_of(sums, tiny_model, tmp_path, rater=VerifiedRater(("final-answer",))), training=Here())
    assert refused.value.message.startswith("No prompt had answers of different reward. There is nothing to prefer")
    assert "winnow train with method sft" in refused.value.fix


def test_a_judge_grades_answers_and_its_calls_are_kept(tmp_path: Path) -> None:
    def grade(body: dict[str, Any], number: int) -> str:
        value = 5 if "<answer>\ngood" in body["messages"][0]["content"] else 1
        return json.dumps(dict.fromkeys(("accuracy", "helpfulness", "clarity", "completeness"), value))

    asked, answers = [example(row("Why?"))] * 2, [Answer("good", 1, 9), Answer("bad", 1, 9)]
    with Loopback(grade) as server:
        rater = JudgeRater(server.spec, tmp_path)
        assert [value for value, _ in rater.rate(asked, answers)] == [5.0, 1.0]
        assert [value for value, _ in rater.rate(asked, answers)] == [5.0, 1.0]
        assert server.requests == 2
