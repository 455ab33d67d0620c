"""The small mixes of a search: parts of one mix, with the same held-out rows, each a folder like any other mix.

MIXES/NAME/train.jsonl     rows of the mix, in its order
MIXES/NAME/eval.jsonl      those of the mix
MIXES/NAME/manifest.json   what was taken

Draws are nested: a larger size holds the smaller ones, a higher weight of a source holds a lower one. Runs then differ
by what was added, not by luck.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation.errors import WinnowError
from training.data.mix_folder import NO_SOURCE, MixFolder


@dataclass(frozen=True, slots=True)
class Row:
    """A line of train.jsonl, and what a draw needs to know of it."""

    id: str
    """Rows of equal id are one sample that the mix repeats."""
    line: str
    source: str
    characters: int
    """Of the line: what weights and sizes are shares of."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One run of a search: what it takes of the mix."""

    share: float | None
    """Of the mix's rows; null where weights are searched."""
    weights: dict[str, float] | None
    """Source -> share of the text; null where sizes are searched."""
    repeat: int
    """0, 1, ...: draws samples and begins training with another seed."""

    @property
    def label(self) -> str:
        """Short and fit for a folder's name."""
        if self.share is not None:
            return f"{self.share:.4g}-{self.repeat}"
        text = json.dumps(self.weights, sort_keys=True)
        return f"w{hashlib.sha256(text.encode()).hexdigest()[:6]}-{self.repeat}"


class Source:
    """The mix that a search takes from."""

    def __init__(self, mix: MixFolder, *, seed: int) -> None:
        """Read its rows.

        Args:
            mix: with train.jsonl, and eval.jsonl to measure on.
            seed: of the draws.

        Raises:
            WinnowError: it has no held-out rows, or nothing to train on.
        """
        if not mix.has("eval"):
            raise WinnowError(
                f"The mix {mix.path} has no held-out rows: nothing can be measured.",
                fix="hold some samples out (winnow hold-out CORPUS 5%), and export the mix again",
            )
        _ = mix.format  # raises where there is nothing to train on
        self.mix, self._seed = mix, seed
        self.rows = [_row(number, line) for number, line in enumerate(_lines(mix.path / "train.jsonl"), start=1)]
        self.text = sum(row.characters for row in self.rows)

    def text_by_source(self) -> dict[str, int]:
        """Source -> characters, sorted by name."""
        total: dict[str, int] = {}
        for row in self.rows:
            total[row.source] = total.get(row.source, 0) + row.characters
        return dict(sorted(total.items()))

    def most_rows(self, weights: Mapping[str, float]) -> dict[str, int]:
        """Source -> rows that have these shares of the text, on average, as many as there are samples for.

        A sample that the mix repeats counts once: an export gives it once.

        Args:
            weights: source -> share of the text, above 0.
        """
        text, counts = dict.fromkeys(weights, 0), dict.fromkeys(weights, 0)
        for row in {row.id: row for row in self.rows if row.source in weights}.values():
            text[row.source] += row.characters
            counts[row.source] += 1
        characters = min(text[name] / share for name, share in weights.items())
        wanted = {name: weights[name] * characters * counts[name] / text[name] for name in weights}
        return {name: min(counts[name], max(0, round(rows))) for name, rows in wanted.items()}

    def taken(self, plan: Plan, characters: float) -> list[int]:
        """Row numbers of a plan, in the mix's order.

        Args:
            plan: sizes are shares of the rows; weights are shares of `characters`.
            characters: text of a run over weights.
        """
        order = sorted(range(len(self.rows)), key=lambda i: self._drawn(i, plan.repeat))
        if plan.share is not None:
            return sorted(order[: max(1, round(plan.share * len(self.rows)))])
        assert plan.weights is not None
        taken: list[int] = []
        for name, weight in plan.weights.items():
            left = weight * characters
            for i in (i for i in order if self.rows[i].source == name):
                if left < self.rows[i].characters / 2:
                    break
                taken.append(i)
                left -= self.rows[i].characters
        return sorted(taken)

    def write(self, plan: Plan, characters: float, folder: Path) -> Path:
        """The mix of a plan as a folder; one that is there already is left as it is."""
        if (folder / "manifest.json").is_file():  # it is written last
            return folder
        taken = self.taken(plan, characters)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "train.jsonl").write_text("".join(self.rows[i].line for i in taken), encoding="utf-8")
        shutil.copyfile(self.mix.path / "eval.jsonl", folder / "eval.jsonl")
        manifest: dict[str, Any] = {
            "name": folder.name,
            "part_of": str(self.mix.path),
            "part_of_sha256": self.mix.manifest_sha256(),
            "share": plan.share,
            "weights": plan.weights,
            "seed": [self._seed, plan.repeat],
            "files": {"train": {"rows": len(taken)}},
        }
        (folder / "manifest.json").write_text(json.dumps(manifest, ensure_ascii=False, indent=2), encoding="utf-8")
        return folder

    def _drawn(self, i: int, repeat: int) -> bytes:
        # By the row's own text: the draw does not depend on where the row stands.
        return hashlib.sha256(f"{self._seed}/{repeat}/{self.rows[i].line}".encode("utf-8", "replace")).digest()


def _lines(path: Path) -> Sequence[str]:
    with path.open(encoding="utf-8") as file:
        return [line if line.endswith("\n") else line + "\n" for line in file if line.strip()]


def _row(number: int, line: str) -> Row:
    row = json.loads(line)
    return Row(str(row.get("id") or f"train.jsonl:{number}"), line, str(row.get("source") or NO_SOURCE), len(line))
