"""A run that is judged by what its models write, from the run's files to evaluation.json."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tests.synthesis.loopback import Loopback
from tests.training.conftest import CHATML, WriteMix, byte_tokenizer
from training.answering import AnswersReport, Asked, answering, weights_of
from training.config import TrainConfig
from training.data.encoding import Encoder
from training.data.mix_folder import MixFolder
from training.evaluation import evaluate, evaluation
from training.judging import lm_eval
from training.judging.answers import read_answers
from training.judging.verified import read_scores
from training.runs.run_folder import RunFolder
from training.training import prepare
from training.worker import Worker

ROWS = [
    {
        "id": f"m{i}",
        "source": "sums",
        "instruction": f"{i} plus 1?",
        "output": f"It is {i + 1}.\n#### {i + 1}",
        "tags": ["even" if i % 2 == 0 else "odd"],
        "scores": {"size": i},
    }
    for i in range(24)
]


@pytest.fixture(scope="module", autouse=True)
def _offline() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield


@pytest.fixture(scope="module")
def run(tiny_model: Path, write_mix: WriteMix, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = TrainConfig(
        base_model=str(tiny_model), adapter="full", max_length=64, max_steps=2, eval_steps=None, sample_answers=0
    )
    folder = tmp_path_factory.mktemp("runs") / "first"
    Worker(prepare(write_mix(train=ROWS[:10], eval=ROWS[10:], random=ROWS[:10]), config, folder).path).work()
    return folder


@pytest.fixture(scope="module")
def judged(run: Path) -> Any:
    return evaluate([run], baseline=False, asked=Asked(answers=6, most_tokens=8)).runs[0]


def test_losses_are_told_by_tag_and_by_band(judged: Any) -> None:
    assert {kind: [row.source for row in rows] for kind, rows in judged.groups.items()} == {
        "tags": ["even", "odd"],
        "size": ["low (below 14)", "middle (14 to 19)", "high (19 or more)"],
    }
    even, odd = judged.groups["tags"]
    together = (even.trained * even.tokens + odd.trained * odd.tokens) / (even.tokens + odd.tokens)
    assert together == pytest.approx(judged.overall.trained, abs=1e-9)
    assert judged.perplexity["base"] == pytest.approx(2.718281828**judged.overall.base, rel=1e-6)


def test_every_held_out_row_keeps_its_losses(run: Path, judged: Any) -> None:
    rows = [json.loads(line) for line in (run / "held_out_losses.jsonl").read_text().splitlines()]
    assert len(rows) == 14
    assert sum(r["trained"] for r in rows) / sum(r["tokens"] for r in rows) == pytest.approx(judged.overall.trained)


def test_the_same_prompts_are_answered_by_base_and_trained_and_checked(run: Path, judged: Any) -> None:
    answers = read_answers(run)
    assert len(answers) == 12
    assert {a.id for a in answers if a.model == "base"} == {a.id for a in answers if a.model == "trained"}
    assert all(a.tokens <= 8 for a in answers)
    assert judged.answers.prompts == 6
    final, code = judged.answers.verified
    assert [share.answers for share in final.shares] == [6, 6]
    assert code.reason == "the metadata hold no tests"
    assert judged.answers.judge_reason == "no judge was asked for"
    assert read_scores(run)[answers[0].id, "base"]["final_answer_expected"] == str(int(answers[0].id[1:]) + 1)


def test_answers_are_not_written_twice_and_a_judge_compares_them(run: Path, judged: Any) -> None:
    before = (run / "answers.jsonl").read_bytes()
    with Loopback(lambda body, _: '{"better": "A"}') as server:
        asked = Asked(answers=6, most_tokens=8, judge=server.spec)
        again = evaluate([run], baseline=False, asked=asked).runs[0]
        sent = server.requests
        assert evaluate([run], baseline=False, asked=asked).runs[0].answers == again.answers
        assert server.requests == sent
    assert (run / "answers.jsonl").read_bytes() == before
    rate = again.answers.win_rates[0]
    assert (rate.against, rate.prompts, rate.rate, rate.first) == ("base", 6, 0.5, 1.0 if sent else None)
    # Losses measured again later leave what was found of the answers.
    later = evaluate([run], baseline=False).runs[0]
    assert later.answers["win_rates"][0]["rate"] == 0.5
    assert (evaluation(run) or {})["answers"]["weights"]["trained"] == weights_of(str(run / "final"))


def test_held_out_rows_become_tasks_of_lm_eval_with_the_command_that_runs_them(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lm_eval, "installed", lambda: False)
    found = evaluate([run], baseline=False, asked=Asked(lm_eval=tmp_path / "tasks")).runs[0].lm_eval
    assert found is not None
    assert found.rows == 14
    assert f"pretrained={run / 'final'}" in found.command
    assert found.reason == "lm-eval is not installed: pip install lm-eval"
    rows = [json.loads(line) for line in (tmp_path / "tasks" / "winnow_choice.jsonl").read_text().splitlines()]
    assert all(len(set(row["choices"])) == 4 for row in rows)
    assert {row["choices"][row["answer"]] for row in rows} == {row["output"] for row in ROWS[10:]}
    assert 'output_type: "multiple_choice"' in (tmp_path / "tasks" / "winnow_choice.yaml").read_text()


def test_an_evaluation_of_an_earlier_version_is_still_read(run: Path, judged: Any) -> None:
    old = {k: v for k, v in (evaluation(run) or {}).items() if k not in ("groups", "perplexity", "answers", "lm_eval")}
    kept = (run / "evaluation.json").read_text()
    (run / "evaluation.json").write_text(json.dumps(old))
    assert (evaluation(run) or {})["verdict"] == old["verdict"]
    (run / "evaluation.json").write_text(kept)


def test_what_was_judged_of_other_answers_is_not_shown(run: Path, judged: Any) -> None:
    with Loopback(lambda body, _: '{"better": "A"}') as server:
        evaluate([run], baseline=False, asked=Asked(answers=6, most_tokens=8, judge=server.spec))
    again = evaluate([run], baseline=False, asked=Asked(answers=6, most_tokens=8)).runs[0].answers
    assert isinstance(again, AnswersReport)
    assert [rate.prompts for rate in again.win_rates] == [6]
    kept = (run / "answers.jsonl").read_text()
    rows = [json.loads(line) for line in kept.splitlines()]
    other = [{**row, "answer": "something else"} if row["model"] == "trained" else row for row in rows]
    (run / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in other))
    changed = evaluate([run], baseline=False, asked=Asked(answers=6, most_tokens=8)).runs[0].answers
    assert isinstance(changed, AnswersReport)
    assert (changed.win_rates, changed.judge_reason) == ([], "no judge was asked for")
    (run / "answers.jsonl").write_text(kept)


def test_a_harness_that_fails_costs_nothing_but_its_numbers_and_those_it_found_stay(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(lm_eval, "installed", lambda: True)
        patch.setattr(lm_eval, "command", lambda *_: [sys.executable, "-c", "raise SystemExit(3)"])
        failed = evaluate([run], baseline=False, asked=Asked(lm_eval=tmp_path)).runs[0]
    assert failed.overall is not None
    assert isinstance(failed.lm_eval, lm_eval.LmEval)
    assert str(failed.lm_eval.reason).startswith("lm-eval ended with status 3")
    assert (evaluation(run) or {})["overall"]["examples"] == 14
    found = {**asdict(failed.lm_eval), "results": {"winnow_choice": {"acc": 0.5}}, "reason": None}
    RunFolder(run).write("evaluation.json", {**(evaluation(run) or {}), "lm_eval": found})
    assert evaluate([run], baseline=False).runs[0].lm_eval == found
    RunFolder(run).write("evaluation.json", {**(evaluation(run) or {}), "lm_eval": {**found, "weights": "other"}})
    assert evaluate([run], baseline=False).runs[0].lm_eval is None


def test_prompts_of_a_file_are_prepared_and_those_that_the_template_refuses_are_counted(
    run: Path, tmp_path: Path
) -> None:
    refusing = "{% if messages[-1]['content'] == 'refuse me' %}{{ raise_exception('no') }}{% endif %}" + CHATML
    config = TrainConfig.from_file(run / "config.json")
    (tmp_path / "p.jsonl").write_text('{"prompt": "refuse me"}\n{"prompt": "ask me"}\n')
    encoder = Encoder.of(byte_tokenizer(refusing), config)
    asked = Asked(prompts=tmp_path / "p.jsonl")
    mix = MixFolder(Path(RunFolder(run).read("data.json")["mix"]))
    found = answering(RunFolder(tmp_path), mix, asked, {}, encoder, 256, "float32")
    assert ([p.question for p in found.prompts], found.refused, found.too_long) == (["ask me"], 1, 0)


def test_a_random_arm_that_is_there_is_compared_with_also_where_none_is_to_be_trained(run: Path, judged: Any) -> None:
    assert judged.random_run is None
    config = TrainConfig.from_file(run / "config.json").model_copy(update={"arm": "random"})
    Worker(prepare(RunFolder(run).read("data.json")["mix"], config, run / "random").path).work()
    found = evaluate([run], baseline=False).runs[0]
    assert found.random_run == str(run / "random")
    assert found.overall is not None
    assert found.overall.random is not None
