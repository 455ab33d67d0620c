"""Influence on a target set, by gradients."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field

from curation.errors import OperatorError
from curation.operators import Scorer

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import polars as pl

    from curation.gradients import AdapterGradients, Projection, Tokens


class Less(Scorer):
    """How much training on a sample would lower the loss on a target set, to first order. Best on a GPU.

    It reads a LoRA run that was trained on a small random part of the corpus (`winnow train MIX --adapter lora`); the
    target is a file, the samples with a tag, or those of a source. Choose with `top-k`; hold the target out before.

    Source: LESS, Xia et al. 2024, arXiv:2402.04333, sections 3 and 4; code: princeton-nlp/LESS. Per checkpoint the
    gradient of the adapter, for the samples as Adam would apply it (no bias correction), for the targets as it is;
    a random projection of +1 and -1; the cosine, times the learning rate, summed over the checkpoints; the mean over
    the target samples of a group, and the highest over the groups.

    Columns:
        less (DOUBLE): that sum; higher lowers the target's loss more, below 0 raises it. Its scale is the learning
            rate's: compare within one run only.

    Differs from the source: groups are the values of any column instead of a fixed list of subtasks; eps stands
    outside the root, as in the paper (the code has it inside); the learning rates are the mean of the steps between
    checkpoints and are not normalised; an adapter of no more numbers than `dimensions` is not projected.
    """

    name: ClassVar[str] = "less"
    whole: ClassVar[bool] = True

    run: str = Field(min_length=1, description="Folder of a LoRA run, or its name in the corpus")
    target: str | None = Field(None, description="File of target samples, in any shape that can be ingested")
    target_tag: str | None = Field(None, description="Or: the samples with this tag")
    target_source: str | None = Field(None, description="Or: the samples of this source")
    groups: str = Field("source", description="Column whose values are the groups of target samples")
    dimensions: int = Field(8_192, ge=8, description="Of the projected gradients")
    seed: int = Field(0, ge=0, description="Of the projection")

    @property
    def needs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(("messages", "instruction", "response", "tags", "source", self.groups)))

    @property
    def columns(self) -> dict[str, str]:
        return {"less": "DOUBLE"}

    def in_corpus(self, folder: Path) -> Self:
        """With the run of that name in the corpus, if it has one."""
        inside = folder / "runs" / self.run
        return self.model_copy(update={"run": str(inside)}) if inside.is_dir() else self

    def fingerprint(self) -> str:
        """Hash of the checkpoints' weights and of the target file.

        Raises:
            OperatorError: no target is given or more than one, or the file can't be read.
            ModelError: there is no LoRA run with a checkpoint.
        """
        from curation.gradients import checkpoints_of

        digest = hashlib.sha256()
        if sum(t is not None for t in (self.target, self.target_tag, self.target_source)) != 1:
            raise OperatorError("less needs one target: a file, a tag or a source.", fix="add --set target=FILE, say")
        files = [c.folder / "adapter_model.safetensors" for c in checkpoints_of(Path(self.run).expanduser())]
        try:
            for path in (*files, *([Path(self.target).expanduser()] if self.target else [])):
                digest.update(hashlib.sha256(path.read_bytes()).digest())
        except OSError as error:
            raise OperatorError(
                f"{error.filename} can't be read: {error.strerror}.", fix="give a file of samples and a finished run"
            ) from None
        return digest.hexdigest()[:16]

    def score(self, batch: pl.DataFrame) -> pl.DataFrame:
        import numpy as np
        import polars as pl

        from curation.gradients import AdapterGradients, Projection, checkpoints_of

        self.fingerprint()
        targets, projection = self._targets(batch), Projection(self.dimensions, self.seed)
        reasons: list[str | None] = [None] * batch.height
        influence: np.ndarray = np.zeros(())
        for checkpoint in checkpoints_of(Path(self.run).expanduser()):
            opened = AdapterGradients(checkpoint)
            rows, reasons = _tokenized(batch, opened)
            directions = self._directions(targets, opened, projection)
            cosines = [_cosines(part, directions) for part in opened.features(rows, projection, adam=True)]
            measured = np.concatenate(cosines or [np.empty((0, len(directions)))])
            influence = influence + checkpoint.learning_rate * measured
        values = np.full(batch.height, np.nan)
        values[[reason is None for reason in reasons]] = influence.max(axis=1)
        flat = pl.when(pl.col("less").is_nan()).then(pl.lit("its gradient is zero or not finite"))
        found = pl.DataFrame({"less": values, "reason": pl.Series(reasons, dtype=pl.String)})
        return found.select(pl.col("less").fill_nan(None), pl.coalesce("reason", flat).alias("reason"))

    def _targets(self, batch: pl.DataFrame) -> pl.DataFrame:
        import polars as pl

        from curation.scorers.importance import frame_of_file

        if self.target is not None:
            found, what = frame_of_file(Path(self.target).expanduser()), f"the file {self.target}"
        elif self.target_tag is not None:
            tagged = pl.col("tags").list.contains(self.target_tag).fill_null(False)
            found, what = batch.filter(tagged), f"the tag {self.target_tag!r}"
        else:
            found, what = batch.filter(pl.col("source") == self.target_source), f"the source {self.target_source!r}"
        if found.is_empty():
            raise OperatorError(f"The target of less, {what}, has no sample.", fix="give a target with samples")
        return found

    def _directions(self, targets: pl.DataFrame, opened: AdapterGradients, projection: Projection) -> np.ndarray:
        """Per group the mean of its unit gradients, float32 (groups, dimensions): times a unit one the mean cosine."""
        import numpy as np

        rows, reasons = _tokenized(targets, opened)
        if not rows:
            raise OperatorError(f"No target sample of less can be measured: {reasons[0]}.", fix="give other targets")
        named = targets[self.groups].cast(str).to_list() if self.groups in targets.columns else [""] * targets.height
        of_row = [name for name, reason in zip(named, reasons, strict=True) if reason is None]
        places = {name: place for place, name in enumerate(dict.fromkeys(of_row))}
        sums = np.zeros((len(places), min(projection.dimensions, opened.size)))
        counts = np.zeros(len(places))
        done = 0
        for part in opened.features(rows, projection, adam=False):
            where = [places[name] for name in of_row[done : done + len(part)]]
            np.add.at(sums, where, part)
            np.add.at(counts, where, 1)
            done += len(part)
        means: np.ndarray = (sums / counts[:, None]).astype(np.float32)
        return means


def _cosines(gradients: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """float64 (samples, groups); NaN where a gradient has no direction."""
    import numpy as np

    found: np.ndarray = (gradients @ directions.T).astype(np.float64)
    found[~gradients.any(axis=1)] = np.nan
    return found


def _tokenized(frame: pl.DataFrame, opened: AdapterGradients) -> tuple[list[Tokens], list[str | None]]:
    """The samples that can be measured, in order, and for every one null or the reason why it can't."""
    from curation.gradients import tokens_of

    found = [
        tokens_of(opened.tokenizer, _turns(*row), opened.max_length)
        for row in frame.select("messages", "instruction", "response").iter_rows()
    ]
    return [f for f in found if not isinstance(f, str)], [f if isinstance(f, str) else None for f in found]


def _turns(
    messages: Sequence[dict[str, Any]] | None, instruction: str | None, response: str | None
) -> list[dict[str, Any]]:
    if messages is None:  # a plain pair
        messages = [{"role": "user", "content": instruction}, {"role": "assistant", "content": response}]
    given = [{key: value for key, value in turn.items() if value is not None} for turn in messages]
    return [{"content": "", **turn} for turn in given]
