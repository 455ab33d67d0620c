from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from curation.errors import WinnowError
from training.comparing_runs import compare_runs
from training.runs.run_folder import EventReader


def row(name: str, source: str) -> dict[str, Any]:
    turns = [{"role": "user", "content": f"ask {name}"}, {"role": "assistant", "content": "yes"}]
    return {"id": name, "messages": turns, "source": source}


def answered(name: str, model: str, text: str) -> dict[str, Any]:
    fields = {
        "reference": "yes",
        "finish_reason": "stop",
        "tokens": 1,
        "weights": model,
        "settings": "s",
        "source": "a",
    }
    prompt = [{"role": "user", "content": f"ask {name}"}]
    return {"id": name, "prompt": prompt, "model": model, "answer": text, **fields}


def lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(each) + "\n" for each in rows)


def write_run(folder: Path, rows: list[dict[str, Any]], *, losses: tuple[float, float], **config: Any) -> Path:
    mix = folder / "mix"
    mix.mkdir(parents=True)
    (mix / "train.jsonl").write_text(lines(rows))
    sha256 = hashlib.sha256((mix / "train.jsonl").read_bytes()).hexdigest()
    (folder / "config.json").write_text(json.dumps({"base_model": "b", **config}))
    (folder / "data.json").write_text(json.dumps({"mix": str(mix), "sha256": {"train": sha256, "eval": "e"}}))
    (folder / "status.json").write_text(json.dumps({"state": "done", "step": 4, "max_steps": 4}))
    told = [
        {"type": "data", "rows": len(rows), "tokens": 90},
        {"type": "plan", "learning_rate": config.get("learning_rate", 2e-3)},
        {"type": "train_begin", "from_step": 0},
        {"type": "held_out", "step": 0, "loss": losses[0], "loss_by_source": {"a": 2.0}},
        *({"type": "log", "step": n, "loss": 4.0 - n, "seconds": 2.0 * n, "tokens_seen": 10 * n} for n in (1, 2)),
        {"type": "train_begin", "from_step": 2},
        *({"type": "log", "step": 2 + n, "loss": 2.0 - n, "seconds": 1.0 * n, "tokens_seen": 10 * n} for n in (1, 2)),
        {"type": "held_out", "step": 4, "loss": losses[1], "loss_by_source": {"a": 1.0}},
    ]
    (folder / "events.jsonl").write_text(lines(told))
    answers = [answered("x", "base", "no"), answered("x", "trained", folder.name)]
    (folder / "answers.jsonl").write_text(lines(answers))
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    first = write_run(tmp_path / "first", [row("1", "a"), row("2", "b")], losses=(3.0, 2.0))
    second = write_run(
        tmp_path / "second", [row("2", "b"), row("3", "b"), row("4", "a")], losses=(3.0, 2.5), epochs=3.0
    )
    return [first, second]


def test_rows_that_only_one_run_has_are_told_by_source(runs: list[Path]) -> None:
    first, second = compare_runs(runs).data
    assert (first.rows, first.only_here, first.only_by_source) == (2, 1, {"a": 1})
    assert (second.rows, second.only_here, second.only_by_source) == (3, 2, {"a": 1, "b": 1})
    assert first.examples == [{"id": "1", "source": "a", "question": "ask 1"}]
    assert [asdict(o) for o in compare_runs(runs).overlaps] == [{"a": "first", "b": "second", "common": 1}]


def test_only_settings_that_differ_are_shown_and_left_out_fields_have_their_defaults(runs: list[Path]) -> None:
    assert [(s.name, s.values) for s in compare_runs(runs).settings] == [("epochs", {"first": 1.0, "second": 3.0})]


def test_a_curve_goes_on_after_a_resumption_in_tokens_and_seconds(runs: list[Path]) -> None:
    curve = [p for p in compare_runs(runs).curves if p.run == "first" and p.source is None]
    assert [(p.step, p.tokens, p.seconds) for p in curve] == [(1, 10, 2), (2, 20, 4), (3, 30, 5), (4, 40, 6)]
    held_out = [p for p in compare_runs(runs).curves if p.run == "first" and p.source == "a"]
    assert [(p.step, p.tokens, p.loss) for p in held_out] == [(0, 0, 2.0), (4, 40, 1.0)]


def test_a_mix_that_has_changed_since_is_not_compared_and_says_so(runs: list[Path]) -> None:
    with (runs[0] / "mix" / "train.jsonl").open("a") as file:
        file.write(json.dumps(row("9", "a")) + "\n")
    first, second = compare_runs(runs).data
    assert (first.rows, first.only_here) == (None, None)
    assert "has changed since the run" in (first.reason or "")
    assert second.only_here == 3


def test_the_same_prompt_is_answered_by_the_base_once_and_by_each_run(runs: list[Path]) -> None:
    (prompt,) = compare_runs(runs).answers
    assert prompt.answers == {"base": "no", "first": "first", "second": "second"}


def test_the_seesaw_compares_with_the_base_or_with_one_of_the_runs(runs: list[Path]) -> None:
    against_base = compare_runs(runs).seesaw
    assert {name: changes[0].difference for name, changes in against_base.items()} == {"first": -1.0, "second": -1.0}
    compared = compare_runs(runs, against="first")
    assert list(compared.seesaw) == ["second"]
    assert {c.name: c.difference for c in compared.seesaw["second"]} == {"all": 0.5, "a": 0.0}


def test_events_of_each_run_are_read_once(runs: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    new = EventReader.new
    monkeypatch.setattr(EventReader, "new", lambda self: read.append(str(self._path)) or new(self))
    compare_runs(runs)
    compare_runs(runs, against="first")
    assert read.count(str(runs[0] / "events.jsonl")) == read.count(str(runs[1] / "events.jsonl")) == 2


def test_held_out_rows_that_differ_are_noted(runs: list[Path]) -> None:
    data = json.loads((runs[1] / "data.json").read_text())
    (runs[1] / "data.json").write_text(json.dumps({**data, "sha256": {**data["sha256"], "eval": "other"}}))
    assert any("different held-out rows" in note for note in compare_runs(runs).notes)


def test_what_can_not_be_compared_is_two_lines(runs: list[Path], tmp_path: Path) -> None:
    for wrong, against in (([runs[0]], "base"), ([runs[0], tmp_path], "base"), (runs, "third")):
        with pytest.raises(WinnowError) as raised:
            compare_runs(wrong, against=against)
        assert raised.value.fix
