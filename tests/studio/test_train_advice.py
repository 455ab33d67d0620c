"""Advice beside the form of the Train page, where it is not about what the page shows."""

from __future__ import annotations

import json

from studio.pages.train_advice import _measured_pace, _stamps
from training.config import TrainConfig

CONFIG = TrainConfig(base_model="models/small", adapter="full")


def write_events(runs, seconds: float) -> None:
    logs = [{"type": "log", "step": n, "tokens_seen": 100 * n, "seconds": seconds * n} for n in range(1, 7)]
    (runs / "one" / "events.jsonl").write_text("".join(json.dumps(log) + "\n" for log in logs))


def test_the_pace_of_earlier_runs_is_read_again_only_when_their_files_have_changed(tmp_path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "config.json").write_text(json.dumps({"base_model": "models/small", "adapter": "full"}))
    write_events(tmp_path, 1.0)
    config, before = CONFIG.model_dump_json(), _stamps(tmp_path)
    assert _measured_pace(str(tmp_path), config, before) == (100.0, "the run one had here")
    write_events(tmp_path, 0.125)
    assert _measured_pace(str(tmp_path), config, before) == (100.0, "the run one had here")
    assert _measured_pace(str(tmp_path), config, _stamps(tmp_path)) == (800.0, "the run one had here")
