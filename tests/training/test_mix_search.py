from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from curation.errors import WinnowError
from training.config import TrainConfig
from training.data.mix_folder import MixFolder
from training.mix_search.regression import Predicted, WeightsFit
from training.mix_search.searching import Search, _recipe, found, search
from training.mix_search.trials import Plan, Source
from training.training import TrainReport, prepare, report
from training.worker import Worker

pytestmark = pytest.mark.usefixtures("one_thread")


def rows(source: str, count: int) -> list[dict[str, Any]]:
    return [
        {
            "id": f"{source}-{n}",
            "messages": [
                {"role": "user", "content": f"{source} {n}?"},
                {"role": "assistant", "content": "a" * (1 + n % 3)},
            ],
            "source": source,
        }
        for n in range(count)
    ]


class Here:
    """Trains in this process, which saves the start of another one."""

    def __init__(self) -> None:
        self.runs: list[str] = []

    def __call__(self, mix: Path, config: TrainConfig, run: Path) -> TrainReport:
        folder = prepare(mix, config, run).path
        if report(run).state != "done":
            self.runs.append(run.name)
            Worker(folder).work()
        return report(run)


def test_a_search_trains_its_runs_once_and_none_the_second_time(tiny_model, write_mix, tmp_path) -> None:
    mix = write_mix(train=rows("tea", 16), eval=rows("cup", 2))
    config = TrainConfig(base_model=str(tiny_model), adapter="full", max_steps=2, eval_steps=None, batch_size=2)
    wanted = Search("sizes", runs=4, smallest=0.125)
    first, second = Here(), Here()
    places = {"folder": tmp_path / "search", "runs_dir": tmp_path / "runs"}
    made = search(mix, config, wanted, **places, training=first)
    again = search(mix, config, wanted, **places, training=second)
    assert len(first.runs) == 4
    assert second.runs == []
    assert [(trial.share, trial.rows, trial.trained) for trial in made.trials] == [
        (0.125, 2, True),
        (0.25, 4, True),
        (0.5, 8, True),
        (1.0, 16, True),
    ]
    assert [trial.loss for trial in again.trials] == [trial.loss for trial in made.trials]
    assert not any(trial.trained for trial in again.trials)
    assert made.law is not None
    kept = found(tmp_path / "search")
    assert kept is not None
    assert kept["trials"][2]["tokens"] == made.trials[2].tokens


def test_a_larger_size_holds_the_smaller_ones_and_a_higher_weight_the_lower_one(write_mix) -> None:
    source = Source(MixFolder(write_mix(train=rows("tea", 20) + rows("sums", 20), eval=rows("tea", 2))), seed=0)
    small, large = (set(source.taken(Plan(share, None, 0), 0)) for share in (0.25, 0.5))
    assert small < large
    assert len(large) == 20
    less, more = (
        set(source.taken(Plan(None, {"tea": weight, "sums": 1 - weight}, 0), source.text / 2)) for weight in (0.3, 0.7)
    )
    tea = {i for i, row in enumerate(source.rows) if row.source == "tea"}
    assert less & tea < more & tea
    text = {
        name: sum(source.rows[i].characters for i in more if source.rows[i].source == name) for name in ("tea", "sums")
    }
    assert text["tea"] / sum(text.values()) == pytest.approx(0.7, abs=0.05)


def test_runs_over_weights_have_about_as_much_text(write_mix) -> None:
    source = Source(MixFolder(write_mix(train=rows("tea", 50) + rows("sums", 50), eval=rows("tea", 2))), seed=0)
    for weight in (0.2, 0.5, 0.8):
        taken = source.taken(Plan(None, {"tea": weight, "sums": 1 - weight}, 0), 0.5 * source.text)
        assert sum(source.rows[i].characters for i in taken) == pytest.approx(0.5 * source.text, rel=0.05)


def test_a_mix_of_a_trial_is_a_mix_folder_with_the_same_held_out_rows(write_mix, tmp_path) -> None:
    mix = write_mix(train=rows("tea", 8), eval=rows("cup", 2))
    folder = Source(MixFolder(mix), seed=0).write(Plan(0.5, None, 0), 0, tmp_path / "part")
    assert (folder / "eval.jsonl").read_bytes() == (mix / "eval.jsonl").read_bytes()
    assert len(list(MixFolder(folder).examples("train"))) == 4
    assert json.loads((folder / "manifest.json").read_text())["share"] == 0.5


@pytest.mark.parametrize(
    ("files", "wanted", "message"),
    [
        ({"train": rows("tea", 4)}, Search("s"), "no held-out rows"),
        ({"train": rows("tea", 4), "eval": rows("tea", 2)}, Search("s"), "0.0625 of the 4 rows"),
        ({"train": rows("tea", 4), "eval": rows("tea", 2)}, Search("s", over="weights"), "one source"),
        ({"train": rows("tea", 4), "eval": rows("tea", 2)}, Search("s", smallest=2), "can't be made"),
        ({"train": rows("tea", 64), "eval": rows("tea", 2)}, Search("s", runs=2), "needs 4 runs .* 2 are asked for"),
        (
            {"train": rows("tea", 64) + rows("sums", 64), "eval": rows("tea", 2)},
            Search("s", over="weights", runs=4),
            "2 sources needs 5 runs .* 4 are asked for",
        ),
    ],
)
def test_what_can_not_be_searched_is_two_lines(write_mix, tmp_path, tiny_model, files, wanted, message) -> None:
    config = TrainConfig(base_model=str(tiny_model))
    training = Here()
    with pytest.raises(WinnowError, match=message) as raised:
        search(write_mix(**files), config, wanted, folder=tmp_path / "s", runs_dir=tmp_path / "r", training=training)
    assert raised.value.fix
    assert training.runs == []


# -------------------------------------------------------------------- runs that are only told of


def told_by(losses: list[float], **more: Any) -> Any:
    """A training that has ended before it began, with these losses one run after the other."""
    left = iter(losses)

    def training(mix: Path, config: TrainConfig, run: Path) -> TrainReport:
        rows = len((mix / "train.jsonl").read_text().splitlines())
        held_out = [{"step": 0, "loss": 4.0}, {"step": 2, "loss": 3.0}, {"step": 4, "loss": next(left)}]
        return TrainReport(
            **{
                **dict.fromkeys(field.name for field in dataclasses.fields(TrainReport)),
                "state": "done",
                "rows": rows,
                "tokens": 10 * rows,
                "seconds": 1.0,
                "held_out": held_out,
                **more,
            }
        )

    return training


def searched(mix: Path, tmp_path: Path, training: Any, **wanted: Any) -> Any:
    places = {"folder": tmp_path / "s", "runs_dir": tmp_path / "r"}
    return search(mix, TrainConfig(base_model="b"), Search("s", **wanted), **places, training=training)


def test_where_patience_kept_earlier_weights_their_loss_counts(write_mix, tmp_path) -> None:
    mix = write_mix(train=rows("tea", 64), eval=rows("tea", 2))
    assert {t.loss for t in searched(mix, tmp_path, told_by([3.5] * 4, best_step=2)).trials} == {3.0}
    assert {t.loss for t in searched(mix, tmp_path, told_by([3.5] * 4, best_step=None)).trials} == {3.5}


def test_a_run_that_broke_down_is_left_out_and_the_size_that_is_lacking_is_named(write_mix, tmp_path) -> None:
    mix = write_mix(train=rows("tea", 64), eval=rows("tea", 2))
    found = searched(mix, tmp_path, told_by([3.5, 3.2, float("nan"), 2.9]))
    assert found.law.reason == "a law needs runs of 4 sizes, and there are 3"
    assert [(run.share, run.worth) for run in found.next] == [(0.3969, None)]
    assert any("1 of 4 runs end with a held-out loss that is no number" in note for note in found.notes)


def recipe_of(mix: Path, tmp_path: Path) -> tuple[Any, list[dict[str, Any]]]:
    source = Source(MixFolder(mix), seed=0)
    weights = {name: 1 / len(source.text_by_source()) for name in source.text_by_source()}
    best = Predicted(weights, 1.0, (0.9, 1.1), 0.1, (0.0, 0.2), 0.0)
    recipe = _recipe(source, WeightsFit(None, best), Search("s", "weights"), tmp_path)
    file = tmp_path / "best.json"
    return recipe, json.loads(file.read_text())["parts"] if file.exists() else []


def test_the_best_mix_asks_for_no_more_rows_than_there_are_samples(write_mix, tmp_path) -> None:
    tea = rows("tea", 4)
    unnamed = [{**row, "source": None} for row in rows("cup", 8)]
    mix = write_mix(train=[*tea, *tea, *tea, *unnamed], eval=rows("tea", 2))
    (mix / "manifest.json").write_text(json.dumps({"name": "m", "mix": {"name": "m", "parts": [{"where": "TRUE"}]}}))
    recipe, parts = recipe_of(mix, tmp_path)
    assert recipe["largest"]["tea"] <= 4
    assert {part["where"].split(" AND ")[0] for part in parts} == {"source = 'tea'", "coalesce(source, '') = ''"}


def test_the_best_mix_of_stages_has_no_recipe_and_says_why(write_mix, tmp_path) -> None:
    mix = write_mix(train=rows("tea", 4) + rows("sums", 4), eval=rows("tea", 2))
    stages = [{"where": "TRUE", "stage": "first"}, {"where": "FALSE", "stage": "last"}]
    (mix / "manifest.json").write_text(json.dumps({"name": "m", "mix": {"name": "m", "parts": stages}}))
    recipe, parts = recipe_of(mix, tmp_path)
    assert (recipe["file"], parts) == (None, [])
    assert "stages" in recipe["reason"]
