"""Influence on a target set, by gradients."""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field, PrivateAttr

from curation.errors import OperatorError
from curation.language_models.answer_losses import KEPT_FOLDER, in_chunks
from curation.operators import Scorer

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import polars as pl

    from curation.language_models.gradients import AdapterGradients, Checkpoint, Projection, Tokens

    Opened = tuple[AdapterGradients, Projection, np.ndarray]

TOLD = ("messages", "instruction", "response", "tools", "metadata")
"""Columns that hold a sample as training reads it."""


class Less(Scorer):
    """How much training on a sample would lower the loss on a target set, to first order. Best on a GPU.

    It reads a LoRA run that was trained on a small random part of the corpus (`winnow train MIX --adapter lora`); the
    target is a file, the samples with a tag, or those of a source. Choose with `top-k`; hold the target out before.

    Source: LESS, Xia et al. 2024, arXiv:2402.04333, sections 3 and 4; code: princeton-nlp/LESS. Per checkpoint the
    gradient of the adapter, for the samples as Adam would apply it (no bias correction), for the targets as it is;
    a random projection of +1 and -1; the cosine, times the learning rate, summed over the checkpoints; the mean over
    the target samples of a group, and the highest over the groups.

    A killed run goes on where it stopped: what each checkpoint says of a sample is kept in `losses/` of the corpus.

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

    _kept: Path | None = PrivateAttr(None)

    @property
    def needs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*TOLD, "tags", "source", self.groups)))

    @property
    def columns(self) -> dict[str, str]:
        return {"less": "DOUBLE"}

    def in_corpus(self, folder: Path) -> Self:
        """With the run of that name in the corpus, if it has one, and a place to keep what was measured."""
        inside = folder / "runs" / self.run
        scorer = self.model_copy(update={"run": str(inside)} if inside.is_dir() else {})
        scorer._kept = folder / KEPT_FOLDER
        return scorer

    def fingerprint(self) -> str:
        """Hash of the checkpoints' weights and of the target file.

        Raises:
            OperatorError: no target is given or more than one, or the file can't be read.
            ModelError: there is no LoRA run with a checkpoint.
        """
        from curation.language_models.gradients import checkpoints_of

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

        from curation.language_models.gradients import checkpoints_of

        weights, targets = self.fingerprint(), self._targets(batch)
        aims = list(zip(targets["id"], self._named(targets), strict=True))
        key = f"{self.name} {weights} {self.dimensions} {self.seed} {aims}"
        reasons = pl.Series([None] * batch.height, dtype=pl.String)
        influence: np.ndarray = np.zeros(())
        for checkpoint in checkpoints_of(Path(self.run).expanduser()):
            opened = functools.cache(functools.partial(self._opened, checkpoint, targets))
            about = f"{key} {checkpoint.step} {checkpoint.max_length}"
            kept = in_chunks(batch, functools.partial(_read, opened), self._kept, about)
            reasons, measured = kept["reason"], kept["cosines"].drop_nulls().to_list()
            influence = influence + checkpoint.learning_rate * np.array(measured or np.empty((0, 1)))
        values = np.full(batch.height, np.nan)
        values[reasons.is_null().to_numpy()] = influence.max(axis=1)
        flat = pl.when(pl.col("less").is_nan()).then(pl.lit("its gradient is zero or not finite"))
        found = pl.DataFrame({"less": values, "reason": reasons})
        return found.select(pl.col("less").fill_nan(None), pl.coalesce("reason", flat).alias("reason"))

    def _opened(self, checkpoint: Checkpoint, targets: pl.DataFrame) -> Opened:
        from curation.language_models.gradients import AdapterGradients, Projection

        opened, projection = AdapterGradients(checkpoint), Projection(self.dimensions, self.seed)
        return opened, projection, self._directions(targets, opened, projection)

    def _named(self, targets: pl.DataFrame) -> list[str | None]:
        """The group of each target sample."""
        known = self.groups in targets.columns
        return targets[self.groups].cast(str).to_list() if known else [""] * targets.height

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
        of_row = [name for name, reason in zip(self._named(targets), reasons, strict=True) if reason is None]
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


def _read(opened: Callable[[], Opened], part: pl.DataFrame) -> pl.DataFrame:
    """`cosines` to each group of targets at a checkpoint, or `reason` why there are none."""
    import polars as pl

    adapter, projection, directions = opened()
    rows, reasons = _tokenized(part, adapter)
    found = (
        row
        for gradients in adapter.features(rows, projection, adam=True)
        for row in _cosines(gradients, directions).tolist()
    )
    cosines = [next(found) if reason is None else None for reason in reasons]
    return pl.DataFrame(
        {"cosines": cosines, "reason": reasons}, schema={"cosines": pl.List(pl.Float64), "reason": pl.String}
    )


def _cosines(gradients: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """float64 (samples, groups); NaN where a gradient has no direction."""
    import numpy as np

    found: np.ndarray = (gradients @ directions.T).astype(np.float64)
    found[~gradients.any(axis=1)] = np.nan
    return found


def _tokenized(frame: pl.DataFrame, opened: AdapterGradients) -> tuple[list[Tokens], list[str | None]]:
    """The samples that can be measured, in order, and for every one null or the reason why it can't."""
    from curation.files.called_functions import tools_of
    from curation.language_models.gradients import tokens_of

    found = [
        tokens_of(opened.tokenizer, _turns(row), opened.max_length, tools_of(row["tools"]) or None)
        for row in frame.select(TOLD).iter_rows(named=True)
    ]
    return [f for f in found if not isinstance(f, str)], [f if isinstance(f, str) else None for f in found]


def _turns(row: dict[str, Any]) -> list[dict[str, Any]]:
    """The turns as training gives them to the chat template: calls as JSON, reasoning under its published name."""
    from curation.files.called_functions import calls_of
    from curation.files.formats import NAMED
    from curation.sample import TURN_DETAILS

    if row["messages"] is None:  # a plain pair
        pair = ("user", row["instruction"] or ""), ("assistant", row["response"] or "")
        return [{"role": role, "content": content} for role, content in pair]
    details = json.loads(row["metadata"] or "{}").get(TURN_DETAILS)
    details = details if isinstance(details, dict) else {}
    turns = []
    for place, turn in enumerate(row["messages"]):
        told: dict[str, Any] = {"role": turn["role"], "content": turn["content"] or ""}
        told |= {"reasoning_content": turn["reasoning"]} if turn["reasoning"] else {}
        told |= {"tool_calls": calls_of(turn["tool_calls"])} if turn["tool_calls"] else {}
        more = details.get(str(place))
        turns.append(told | {name: more[name] for name in NAMED if name in more} if isinstance(more, dict) else told)
    return turns
