"""Runs side by side: curves, settings, data, answers, and what rose and fell. Everything is read from their folders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from curation.errors import WinnowError
from training.data.mix_folder import NO_SOURCE, MixFolder
from training.judging.answers import read_answers
from training.judging.bad_cases import arm_of
from training.judging.seesaw import Change, groups_of, measured, seesaw
from training.runs.run_folder import EventReader, RunFolder, status

Events = Sequence[Mapping[str, Any]]

BASE = "base"
ONLY = 20
"""Rows that only one mix has, which are shown."""


@dataclass(frozen=True)
class RunSide:
    """One run, in a line."""

    name: str
    run: str
    method: str
    state: str
    steps: int
    rows: int | None
    tokens: int | None
    """Trained on, in one pass."""
    seconds: float
    train_loss: float | None
    held_out_before: float | None
    held_out: float | None
    """The last one after a step or more."""


@dataclass(frozen=True)
class Point:
    """A loss on a curve."""

    run: str
    source: str | None
    """null: the training loss; `all`: held out, all sources."""
    step: int
    tokens: int
    """Through the model so far, over all resumptions."""
    seconds: float
    loss: float


@dataclass(frozen=True)
class Setting:
    """A setting that is not the same in all runs."""

    name: str
    values: dict[str, Any]
    """Run -> value."""


@dataclass(frozen=True)
class DataSide:
    """What one run was trained on, beside the others."""

    run: str
    mix: str
    rows: int | None
    """null where the mix is gone or has changed since: `reason` says so."""
    by_source: dict[str, int]
    only_here: int | None
    """Rows that no other run has."""
    only_by_source: dict[str, int]
    examples: list[dict[str, str]]
    """id, source and question of some of them."""
    reason: str | None


@dataclass(frozen=True)
class Overlap:
    """Rows that two mixes have in common."""

    a: str
    b: str
    common: int


@dataclass(frozen=True)
class Answered:
    """One prompt, answered by all."""

    id: str
    source: str
    question: str
    reference: str | None
    answers: dict[str, str]
    """Run, or `base` -> answer; those that were not asked are missing."""


@dataclass(frozen=True)
class RunComparison:
    """All of it."""

    runs: list[RunSide]
    curves: list[Point]
    settings: list[Setting]
    data: list[DataSide]
    overlaps: list[Overlap]
    answers: list[Answered]
    against: str
    """What the seesaw compares with: `base`, or a run's name."""
    seesaw: dict[str, list[Change]]
    """Run -> what rose and fell, the largest change first."""
    notes: list[str]


def compare_runs(run_dirs: Sequence[Path | str], *, against: str = BASE) -> RunComparison:
    """Lay runs side by side; unfinished ones too, with what they have.

    Args:
        run_dirs: folders of runs, two or more; those of equal name are told apart by their parent's.
        against: what the seesaw compares with: `base` (each run's own base model), or the name of one of the runs.

    Raises:
        WinnowError: fewer than two runs are given, one is none, or `against` names none of them.
    """
    folders = list(dict.fromkeys(Path(run).expanduser().resolve() for run in run_dirs))
    if len(folders) < 2:
        raise WinnowError("One run can't be compared.", fix="give two run folders or more")
    for folder in folders:
        if not (folder / "config.json").is_file():
            raise WinnowError(f"There is no run in {folder}.", fix="give folders that winnow train wrote")
    names = _names(folders)
    if against not in (BASE, *names):
        raise WinnowError(f"{against!r} is none of the runs.", fix=f"give --against base, {', '.join(names)}")
    named = dict(zip(names, folders, strict=True))
    # Read once: the events of a long run are megabytes.
    told = {name: EventReader(RunFolder(folder)).new() for name, folder in named.items()}
    data, overlaps = _data(named)
    curves = [point for name in named for point in _points(name, told[name])]
    return RunComparison(
        runs=[_side(name, folder, curves, told[name]) for name, folder in named.items()],
        curves=curves,
        settings=_settings(named, told),
        data=data,
        overlaps=overlaps,
        answers=_answers(named),
        against=against,
        seesaw=_seesaws(named, told, against),
        notes=_notes(named, data),
    )


def _names(folders: Sequence[Path]) -> list[str]:
    plain = [folder.name for folder in folders]
    return [f.name if plain.count(f.name) == 1 else f"{f.parent.name}/{f.name}" for f in folders]


def _side(name: str, folder: Path, curves: Sequence[Point], told: Events) -> RunSide:
    now = status(folder)
    own = [point for point in curves if point.run == name]
    losses = [point.loss for point in own if point.source is None]
    held_out = {point.step: point.loss for point in own if point.source == "all"}
    data = _last_event(told, "data")
    return RunSide(
        name=name,
        run=str(folder),
        method=str(RunFolder(folder).read("config.json").get("method", "sft")),
        state=now.state,
        steps=now.step,
        rows=data.get("rows"),
        tokens=data.get("tokens"),
        seconds=round(max((point.seconds for point in own), default=0.0), 3),
        train_loss=losses[-1] if losses else None,
        held_out_before=held_out.get(0),
        held_out=held_out[max(held_out)] if any(held_out) else None,
    )


def _last_event(told: Events, kind: str) -> Mapping[str, Any]:
    return next((event for event in reversed(told) if event["type"] == kind), {})


def _points(name: str, told: Events) -> list[Point]:
    """The curves of a run; of a step that was made twice, after a kill, the later one counts."""
    found: dict[tuple[str | None, int], Point] = {}
    before, last = (0.0, 0), (0.0, 0)
    for event in told:
        if event["type"] == "train_begin":
            before, last = (before[0] + last[0], before[1] + last[1]), (0.0, 0)
        elif event["type"] == "log" and event.get("loss") is not None:
            last = (event.get("seconds", 0.0), event.get("tokens_seen", 0))
            place = (event["step"], before[1] + last[1], before[0] + last[0])
            found[None, event["step"]] = Point(name, None, *place, loss=event["loss"])
        elif event["type"] == "held_out" and event.get("loss") is not None:
            place = (event["step"], before[1] + last[1], before[0] + last[0])
            for source, loss in {"all": event["loss"], **(event.get("loss_by_source") or {})}.items():
                found[source, event["step"]] = Point(name, source, *place, loss=loss)
    return sorted(found.values(), key=lambda point: (point.source is not None, point.source or "", point.step))


def _settings(named: dict[str, Path], told: Mapping[str, Events]) -> list[Setting]:
    from training.config import TrainConfig

    configs = {}
    for name, folder in named.items():
        # A run that was begun before a field was there had its default.
        configs[name] = TrainConfig.checked(RunFolder(folder).read("config.json")).model_dump(mode="json")
        # The rate that was used, where the config left it open.
        plan = _last_event(told[name], "plan")
        configs[name] |= {"learning_rate": plan["learning_rate"]} if "learning_rate" in plan else {}
    fields = next(iter(configs.values()))
    found = [Setting(field, {name: config[field] for name, config in configs.items()}) for field in fields]
    return [setting for setting in found if len({str(value) for value in setting.values.values()}) > 1]


def _data(named: dict[str, Path]) -> tuple[list[DataSide], list[Overlap]]:
    rows = {name: _rows(folder) for name, folder in named.items()}
    ids = {name: set(found) for name, (found, _) in rows.items() if isinstance(found, dict)}
    sides = []
    for name, (found, reason) in rows.items():
        mix = str(RunFolder(named[name]).read("data.json").get("mix", ""))
        if found is None:
            sides.append(DataSide(name, mix, None, {}, None, {}, [], reason))
            continue
        others = set().union(*(other for key, other in ids.items() if key != name))
        only = {row_id: row for row_id, row in found.items() if row_id not in others}
        examples = [{"id": i, "source": s, "question": q} for i, (s, q) in list(only.items())[:ONLY]]
        sides.append(DataSide(name, mix, len(found), _counted(found), len(only), _counted(only), examples, reason))
    return sides, [Overlap(a, b, len(ids[a] & ids[b])) for a, b in combinations(ids, 2)]


def _rows(folder: Path) -> tuple[dict[str, tuple[str, str]] | None, str | None]:
    """Id -> source and question of the rows that a run was trained on, or why they are not known."""
    run = RunFolder(folder)
    data, arm = run.read("data.json"), arm_of(run)
    mix = MixFolder(Path(data.get("mix", "")))
    if not mix.has(arm):
        return None, f"the mix is gone: {mix.path}"
    if mix.hashes((arm,))[arm] != (data.get("sha256") or {}).get(arm):
        return None, f"{mix.path / arm}.jsonl has changed since the run"
    found = {e.id: (e.source or NO_SOURCE, e.question[:200]) for e in mix.examples(arm)}
    reason = "of random.jsonl the run takes the first rows, as many tokens as the mix has" if arm == "random" else None
    return found, reason


def _counted(rows: dict[str, tuple[str, str]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for source, _ in rows.values():
        counts[source] = counts.get(source, 0) + 1
    return dict(sorted(counts.items()))


def _answers(named: dict[str, Path]) -> list[Answered]:
    """Prompts that two of the sides or more have answered, in the order of the first run that has them."""
    found: dict[tuple[str, str], Answered] = {}
    bases = {name: {a.weights for a in read_answers(folder) if a.model == BASE} for name, folder in named.items()}
    one_base = len(set().union(*bases.values())) <= 1
    for name, folder in named.items():
        for answer in read_answers(folder):
            if answer.model not in (BASE, "trained"):
                continue
            key = (answer.id, answer.question)
            row = found.setdefault(key, Answered(answer.id, answer.source, answer.question, answer.reference, {}))
            side = name if answer.model == "trained" else BASE if one_base else f"base of {name}"
            row.answers[side] = answer.answer
    return [row for row in found.values() if len(row.answers) > 1]


def _seesaws(named: dict[str, Path], told: Mapping[str, Events], against: str) -> dict[str, list[Change]]:
    one = None if against == BASE else measured(named[against], told=told[against])
    found = {}
    for name, folder in named.items():
        if name != against:
            after = measured(folder, told=told[name])
            before = one or measured(folder, BASE, told[name])
            found[name] = seesaw(before, after, groups_of(folder, after))
    return found


def _notes(named: dict[str, Path], data: Sequence[DataSide]) -> list[str]:
    notes = [f"{side.run}: {side.reason}" for side in data if side.reason]
    held_out = {(RunFolder(folder).read("data.json").get("sha256") or {}).get("eval") for folder in named.values()}
    if len(held_out) > 1:
        notes.append("The runs have different held-out rows: their held-out losses over all are not comparable")
    methods = {RunFolder(folder).read("config.json").get("method", "sft") for folder in named.values()}
    if len(methods) > 1:
        notes.append(
            f"The runs have different methods ({', '.join(sorted(methods))}): their training losses are not comparable"
        )
    bases = {RunFolder(folder).read("config.json").get("base_model") for folder in named.values()}
    if len(bases) > 1:
        notes.append("The runs have different base models: losses per token compare only where tokenizers are the same")
    return notes
