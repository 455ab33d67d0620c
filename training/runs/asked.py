"""What a run is to be, and whether the run in a folder is that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from curation.errors import WinnowError
from training.config import TrainConfig
from training.data.mix_folder import MixFolder
from training.runs.run_folder import RunFolder, status


@dataclass(frozen=True, slots=True)
class Asked:
    """A mix, a config, and what the run's folder says of the mix."""

    mix: MixFolder
    config: TrainConfig
    data: dict[str, Any]
    """Of data.json."""

    def is_begun(self, run: RunFolder) -> bool:
        """Whether the folder holds this run, and something of it that is worth keeping.

        Raises:
            WinnowError: it is another run.
        """
        begun = bool(run.checkpoint() or run.final.exists() or status(run.path).live)
        if begun:
            self._refuse_another(run)
        return begun

    def write(self, run: RunFolder) -> None:
        """Write what the training process reads, unless the run is begun; to be called with the run's lock held.

        Raises:
            WinnowError: the folder holds another run.
        """
        if self.is_begun(run):
            return
        run.clear()
        run.write("config.json", self.config.model_dump(mode="json"))
        run.write("data.json", self.data)
        manifest = self.mix.path / "manifest.json"
        if manifest.is_file():
            (run.path / "manifest.json").write_bytes(manifest.read_bytes())

    def _refuse_another(self, run: RunFolder) -> None:
        there, asked = run.read("config.json"), self.config.deciding()
        fix = "give another run folder, or delete this one to begin again"
        # A run that was begun before a field was there had its default.
        there = TrainConfig.checked(there).deciding()
        other = next((name for name in asked if asked[name] != there.get(name)), None)
        if other:
            raise WinnowError(
                f"The run {run.path} was begun with {other} = {there.get(other)!r}, not {asked[other]!r}.", fix=fix
            )
        hashes, before = self.data["sha256"], run.read("data.json").get("sha256", {})
        changed = next((name for name in hashes if hashes[name] != before.get(name)), None)
        if changed:
            raise WinnowError(f"{changed}.jsonl is not what the run {run.path} was begun with.", fix=fix)
