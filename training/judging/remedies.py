"""What to do about bad cases: the samples near them as a stored selection, and the run's mix again with more of them.

RUN/recipes/NAME.json   for `winnow export CORPUS RUN/recipes/NAME.json`
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation.corpus import Corpus
from curation.errors import WinnowError
from curation.names import checked_name
from curation.storage.sql import literal
from training.judging.bad_cases import neighbours_of
from training.runs.run_folder import RunFolder


@dataclass(frozen=True)
class Remedy:
    """A stored selection, and what goes on from it."""

    selection: str
    samples: int
    nearest: float
    """Highest similarity of a sample to a case."""
    farthest: float
    recipe: str | None
    """File; null where the run's mix has no recipe to begin with: `reason` says so."""
    reason: str | None
    where: str
    """The selection as a condition, for `winnow synthesize --where`."""


def store_neighbours(
    corpus: Corpus,
    report: Mapping[str, Any],
    name: str,
    *,
    rules: Collection[str] = (),
    most: int = 100,
    times: int = 3,
) -> Remedy:
    """Store the samples near bad cases as a selection, and write a recipe in which each of them counts `times` times.

    Args:
        corpus: that the run's mix came from.
        report: of `bad_cases`.
        name: of the selection and the recipe.
        rules: of which cases; all when empty.
        most: samples, the nearest first.
        times: how often each of them is in the new mix.

    Raises:
        WinnowError: no sample is near, or none of those that are is in this corpus.
    """
    checked_name("selection", name)
    near = neighbours_of(report, rules)
    known = set(corpus.frame(["id"])["id"])
    here = [row for row in near if row[0] in known]
    kept = here[:most]
    if not kept:
        raise WinnowError(
            f"None of the {len(near):,} samples near the bad cases is in the corpus {corpus.path}.",
            fix="give the corpus that the mix was exported from",
        )
    operator = {"name": "bad-cases", "run": report["run"], "rules": sorted(rules), "space": report["space"]}
    left = {row[0]: f"near a bad case, but {most:,} are nearer" for row in here[most:]}
    ids = [row[0] for row in kept]
    corpus.save_selection(name, json.dumps(operator), None, len(ids) + len(left), ids, left)
    recipe, reason = _recipe(RunFolder(Path(report["run"])), name, times)
    file = None if recipe is None else str(recipe)
    where = f"id IN (SELECT id FROM selected WHERE name = {literal(name)})"
    return Remedy(name, len(ids), kept[0][1], kept[-1][1], file, reason, where)


def _recipe(run: RunFolder, name: str, times: int) -> tuple[Path | None, str | None]:
    mix = run.read("manifest.json").get("mix")
    if not isinstance(mix, dict) or not mix.get("parts"):
        return None, "the run's mix was not exported from a corpus: it has no recipe to add to"
    stage = mix["parts"][-1].get("stage")
    more = {"selection": name, "times": times, **({"stage": stage} if stage else {})}
    folder = RunFolder(run.path / "recipes")
    # Last: the other parts give what they gave before, and all of these samples are repeated, theirs too.
    folder.write(f"{name}.json", {**mix, "name": name, "parts": [*mix["parts"], more]})
    return folder.path / f"{name}.json", None
