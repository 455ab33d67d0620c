from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from curation.corpus import Corpus
from curation.ingestion import ingest
from curation.mixing import build_mix, export
from tests.training.conftest import WriteMix
from training.config import TrainConfig
from training.runs.run_folder import events
from training.training import TrainReport, prepare, report
from training.worker import Worker


def rows(stage: str, count: int) -> list[dict[str, Any]]:
    """Rows of a stage, which is their source too, so that losses by source tell which stage a step saw."""
    return [
        {
            "id": f"{stage}{i}",
            "source": stage,
            "stage": stage,
            "messages": [{"role": "user", "content": f"{i}?"}, {"role": "assistant", "content": stage * (i % 3 + 1)}],
        }
        for i in range(count)
    ]


pytestmark = pytest.mark.usefixtures("alone")


@pytest.fixture(scope="module")
def config(tiny_model: Path) -> TrainConfig:
    return TrainConfig(
        base_model=str(tiny_model), adapter="full", max_length=128, batch_size=2, eval_steps=None, sample_answers=0
    )


@pytest.fixture(scope="module")
def staged(config: TrainConfig) -> TrainConfig:
    return config.model_copy(
        update={"order": "staged", "packing": "none", "scheduler": "wsd", "decay_ratio": 0.4, "warmup_ratio": 0.1}
    )


@pytest.fixture(scope="module")
def mix(write_mix: WriteMix) -> Path:
    return write_mix(train=rows("wide", 12) + rows("deep", 8))


def trained(mix: Path, config: TrainConfig, run: Path, *, stop_after: int | None = None) -> TrainReport:
    """A run in this process, which can be stopped after some steps."""
    folder = prepare(mix, config, run)
    worker = Worker(folder.path, stop_asked=lambda: stop_after is not None and report(run).steps >= stop_after)
    worker.work()
    return report(run)


def logs(run: Path) -> list[dict[str, Any]]:
    return [event for event in events(run) if event["type"] == "log"]


def loaded(run: Path) -> dict[str, Any]:
    return next(event for event in events(run) if event["type"] == "loaded")


@pytest.fixture(scope="module")
def uninterrupted(mix: Path, staged: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> TrainReport:
    return trained(mix, staged, tmp_path_factory.mktemp("staged"))


def test_every_step_of_a_staged_run_sees_its_stage(uninterrupted: TrainReport) -> None:
    run = Path(uninterrupted.run)
    seen = [set(log["tokens_by_source"]) for log in logs(run)]
    assert seen == [{"wide"}] * 6 + [{"deep"}] * 4
    told = [(stage["stage"], stage["rows"], stage["replayed"]) for stage in loaded(run)["stages"]]
    assert told == [("wide", 12, 0), ("deep", 8, 0)]


def test_the_rate_rises_stays_and_falls_while_the_last_stage_is_seen(uninterrupted: TrainReport) -> None:
    rates = [log["learning_rate"] for log in logs(Path(uninterrupted.run))]
    highest = max(rates)
    assert rates[0] < highest
    assert rates[1:7] == [highest] * 6
    assert all(later < earlier for earlier, later in pairwise(rates[6:]))


def test_a_staged_run_that_was_stopped_within_a_stage_ends_like_one_that_was_not(
    mix: Path, staged: TrainConfig, uninterrupted: TrainReport, tmp_path: Path
) -> None:
    assert trained(mix, staged, tmp_path, stop_after=4).state == "stopped"
    (tmp_path / "STOP").unlink(missing_ok=True)
    assert trained(mix, staged, tmp_path).losses == uninterrupted.losses


def test_in_the_order_of_the_mix_rows_are_trained_on_as_they_stand_in_its_file(
    mix: Path, config: TrainConfig, tmp_path: Path
) -> None:
    trained(mix, config.model_copy(update={"order": "mix", "packing": "none"}), tmp_path)
    assert [set(log["tokens_by_source"]) for log in logs(tmp_path)] == [{"wide"}] * 6 + [{"deep"}] * 4


def test_packed_stages_stay_apart_and_later_ones_repeat_earlier_samples(
    mix: Path, config: TrainConfig, tmp_path: Path
) -> None:
    packed = config.model_copy(
        update={
            "order": "staged",
            "packing": "best-fit",
            "replay": 0.25,
            "batch_size": 1,
            "max_length": 64,
            "epochs": 2,
        }
    )
    assert trained(mix, packed, tmp_path).state == "done"
    seen = [frozenset(log["tokens_by_source"]) for log in logs(tmp_path)]
    border = seen.index(next(sources for sources in seen if "deep" in sources))
    assert border > 0
    assert set(seen[:border]) == {frozenset({"wide"})}
    assert all("deep" in sources or sources == {"wide"} for sources in seen[border:])
    assert any("wide" in sources for sources in seen[border:])
    stages = loaded(tmp_path)["stages"]
    assert [(s["stage"], s["rows"], s["replayed"]) for s in stages] == [("wide", 12, 0), ("deep", 11, 3)]


def test_a_mix_without_stages_can_not_be_staged(write_mix: WriteMix, staged: TrainConfig, tmp_path: Path) -> None:
    plain = [{key: value for key, value in row.items() if key != "stage"} for row in rows("wide", 4)]
    failed = trained(write_mix(train=plain), staged, tmp_path)
    assert failed.state == "failed"
    message = next(e for e in events(tmp_path) if e["type"] == "failed")
    assert message["message"].startswith("The mix has no stages")
    assert "--part NAME@STAGE" in message["fix"]


def test_packed_unpacked_and_wrapped_runs_know_the_loss_of_every_source(
    mix: Path, config: TrainConfig, tmp_path: Path
) -> None:
    whole = config.model_copy(update={"max_steps": 1, "batch_size": 20, "loss_on": "all"})
    windows = {}
    for packing in ("none", "best-fit", "wrapped"):
        trained(mix, whole.model_copy(update={"packing": packing}), tmp_path / packing)
        windows[packing] = log = logs(tmp_path / packing)[0]
        tokens = log["tokens_by_source"]
        weighted = sum(log["loss_by_source"][s] * tokens[s] for s in tokens) / sum(tokens.values())
        assert weighted == pytest.approx(log["loss"], abs=1e-6)
    assert windows["best-fit"]["loss"] == pytest.approx(windows["none"]["loss"], abs=1e-4)
    assert windows["best-fit"]["tokens_by_source"] == windows["none"]["tokens_by_source"]
    # Where wrapping cuts a sample in two, the second half begins with a token that nothing stands before.
    fills = loaded(tmp_path / "wrapped")["packings"]
    learned = {name: sum(log["tokens_by_source"].values()) for name, log in windows.items()}
    assert 0 < learned["none"] - learned["wrapped"] < fills["wrapped"]["rows"]
    assert fills["wrapped"]["fill"] > fills["none"]["fill"]
    assert loaded(tmp_path / "wrapped")["packed_rows"] == fills["wrapped"]["rows"]


def test_documents_are_exported_and_trained_on_related_ones_together(config: TrainConfig, tmp_path: Path) -> None:
    subjects = ("cats and dogs", "rain and snow", "bread and butter")
    texts = [f"Report {i} on {subjects[i % 3]}. " * (40 if i == 0 else 2) for i in range(24)]
    (tmp_path / "notes.jsonl").write_text("".join(f'{{"text": "{text}"}}\n' for text in texts))
    corpus = Corpus.create(tmp_path / "corpus")
    ingest(corpus, [tmp_path / "notes.jsonl"])
    export(
        corpus, build_mix({"name": "m", "parts": [{"where": "true", "rows": 20}], "format": "text"}), tmp_path / "mix"
    )
    pretrain = config.model_copy(
        update={"method": "pretrain", "order": "related", "packing": "wrapped", "max_steps": 4, "learning_rate": 3e-3}
    )
    done = trained(tmp_path / "mix", pretrain, tmp_path / "run")
    assert (done.state, done.truncated, done.dropped) == ("done", 0, {})
    assert done.rows >= 20
    assert done.loss_tokens == done.tokens - done.rows
    assert done.held_out[-1]["loss"] < done.held_out[0]["loss"]
