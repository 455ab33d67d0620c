"""One round: from a model to its answers, their ratings, pairs, and the model that learns from them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation.progress import Progress
from training.config import TrainConfig
from training.data.mix_folder import Example, MixFolder
from training.iterating.pairing import Pairs, paired
from training.iterating.plan import Material, Plan, trained_config
from training.iterating.ratings import Rated
from training.iterating.writing import OpenModel, Writer, kept
from training.methods.grpo import mean_of
from training.rewards import Answer
from training.runs.run_folder import RunFolder
from training.training import TrainReport

if TYPE_CHECKING:
    import numpy as np

Training = Callable[[Path, TrainConfig, Path], TrainReport]
"""Trains on a mix's folder into a run's folder; a finished run is reported at once."""


@dataclass(frozen=True)
class Round:
    """One round: what its model wrote, and what came of the training."""

    number: int
    mix: str
    run: str
    prompts: int
    """That were answered."""
    pairs: int
    dropped: dict[str, int]
    """Reason -> prompts without a pair."""
    reward: float | None
    """Mean rating of the answers that were drawn, by the model that the round began with."""
    answer_tokens: float
    """Their mean length."""
    held_out_before: float | None
    """Mean rating of greedy answers to held-out prompts; null where there are none, or none could be rated."""
    held_out_after: float | None
    held_out_tokens: float | None
    """Mean length of those answers after the round."""
    held_out_pairs: int
    accuracy: float | None
    """Share of the held-out pairs that the new model gets right against the first model; null without such pairs."""
    low: float | None
    """Ends of its 95 % interval (Wilson)."""
    high: float | None
    train_loss: float | None


@dataclass(frozen=True)
class Work:
    """What all rounds of a call share."""

    plan: Plan
    material: Material
    training: Training
    told: Progress


@dataclass(frozen=True)
class Step:
    """From one model to the next."""

    work: Work
    number: int
    before: Step | None

    @property
    def digest(self) -> str:
        """Of all that decides what this round does."""
        plan = self.work.plan
        content = [
            plan.config.model_dump_json(exclude_defaults=True),
            plan.rater.name,
            self.before.digest if self.before else self.work.material.sha256(),
            self.number,
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:6]

    @property
    def _named(self) -> str:
        return f"{self.work.plan.name}-round-{self.number}-{self.digest}"

    @property
    def mix(self) -> Path:
        """Folder of the pairs."""
        return self.work.plan.mixes / self._named

    @property
    def run(self) -> RunFolder:
        """The training run."""
        return RunFolder(self.work.plan.runs / self._named)

    @property
    def first(self) -> Step:
        """The first round."""
        return self.before.first if self.before else self

    @property
    def model(self) -> str:
        """The model that it begins with."""
        return str(self.before.run.final) if self.before else self.work.plan.config.base_model

    def made(self, before: Round | None) -> Round | str:
        """The round; or, where no prompt gave a pair, that."""
        if done := self.run.read("round.json"):
            return Round(**done)
        drawn, ratings, greedy = self._answered()
        pairs = paired(self.work.material.asked, drawn, ratings)
        if not pairs.rows:
            return pairs.why_none
        held_out_pairs = self._write_mix(pairs)
        config = trained_config(self.work.plan).model_copy(update={"base_model": self.model})
        trained = self.work.training(self.mix, config, self.run.path)
        if trained.state != "done":
            raise KeyboardInterrupt
        after, accuracy, interval = self._measured()
        made = Round(
            number=self.number,
            mix=str(self.mix),
            run=str(self.run.path),
            prompts=len(drawn),
            pairs=len(pairs.rows),
            dropped=dict(pairs.dropped),
            reward=mean_of(value for row in ratings for value, _ in row),
            answer_tokens=_mean_tokens(drawn) or 0.0,
            held_out_before=before.held_out_after if before else greedy[0],
            held_out_after=after[0],
            held_out_tokens=after[1],
            held_out_pairs=held_out_pairs,
            accuracy=accuracy,
            low=interval[0],
            high=interval[1],
            train_loss=trained.train_loss,
        )
        self.run.write("round.json", asdict(made))
        return made

    # ------------------------------------------------------------ answers

    def _answered(self) -> tuple[list[list[Answer]], list[list[Rated]], tuple[float | None, float | None]]:
        """What the model writes to the prompts, how good that is, and (in round 1) the held-out reward before."""
        material, model = self.work.material, OpenModel(self.model)
        try:
            drawn = self._drawn(model, "train", material.asked_ids)
            greedy = (None, None) if self.before else self._greedy(model, "before")
            if not self.before and material.held_out:
                self._drawn(model, "held-out", material.held_out_ids)
        finally:
            model.close()
        return drawn, self._rated("train", material.asked, drawn), greedy

    def _drawn(self, model: OpenModel, part: str, prompts: Sequence[Sequence[int]]) -> list[list[Answer]]:
        config = self.work.plan.config
        return self._writer(model).write(
            part, prompts, answers=config.answers_per_prompt, temperature=config.temperature, told=self.work.told
        )

    def _writer(self, model: OpenModel) -> Writer:
        most = self.work.plan.config.max_answer_tokens
        return Writer(model, self.work.material.encoder.tokenizer, self.mix / "answers", most, self.digest)

    def _rated(self, part: str, asked: Sequence[Example], written: Sequence[Sequence[Answer]]) -> list[list[Rated]]:
        repeated = [example for example, row in zip(asked, written, strict=True) for _ in row]
        flat = [answer for row in written for answer in row]
        self.work.told(0, None, f"{part}: rating {len(flat)} answers by {self.work.plan.rater.name}")
        found = kept(self.mix / "ratings" / f"{part}.json", lambda: self.work.plan.rater.rate(repeated, flat))
        ratings = iter([(value, str(reason)) for value, reason in found])
        return [[next(ratings) for _ in row] for row in written]

    def _greedy(self, model: OpenModel, part: str) -> tuple[float | None, float | None]:
        """Mean rating and mean length of the likeliest answers to the held-out prompts."""
        material = self.work.material
        if not material.held_out:
            return None, None
        written = self._writer(model).write(
            part, material.held_out_ids, answers=1, temperature=None, told=self.work.told
        )
        ratings = self._rated(part, material.held_out, written)
        return mean_of(value for row in ratings for value, _ in row), _mean_tokens(written)

    # ------------------------------------------------------------ pairs

    def _write_mix(self, pairs: Pairs) -> int:
        """Write the round's mix, manifest last; how many held-out pairs it has."""
        held_out = self.first._held_out_pairs()
        files = {"train": pairs.rows, "eval": held_out.rows}
        if not (self.mix / "manifest.json").is_file():
            for name, rows in files.items():
                lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
                (self.mix / f"{name}.jsonl").write_bytes(lines.encode("utf-8", "replace"))
            kept(self.mix / "manifest.json", lambda: self._manifest(pairs, held_out))
        return len(held_out.rows)

    def _held_out_pairs(self) -> Pairs:
        """Of the first model's answers to the held-out prompts."""
        material = self.work.material
        if not material.held_out:
            return Pairs()
        drawn = self._drawn(OpenModel(self.model), "held-out", material.held_out_ids)
        return paired(material.held_out, drawn, self._rated("held-out", material.held_out, drawn))

    def _manifest(self, pairs: Pairs, held_out: Pairs) -> dict[str, Any]:
        plan = self.work.plan
        sources = [row["source"] for row in pairs.rows]
        return {
            "name": self.mix.name,
            "format": "preference",
            "made_by": "iterate-dpo",
            "round": self.number,
            "model": self.model,
            "judged_by": plan.rater.name,
            "prompts_of": str(plan.mix),
            "prompts_sha256": self.work.material.sha256(),
            "answers_per_prompt": plan.config.answers_per_prompt,
            "max_answer_tokens": plan.config.max_answer_tokens,
            "temperature": plan.config.temperature,
            "by_source": {source: sources.count(source) for source in sorted(set(sources))},
            "skipped": dict(pairs.dropped),
            "files": {"train": {"rows": len(pairs.rows)}, "eval": {"rows": len(held_out.rows)}},
        }

    # ------------------------------------------------------------ measuring

    def _measured(
        self,
    ) -> tuple[tuple[float | None, float | None], float | None, tuple[float | None, float | None]]:
        """Of the new model: held-out reward and length, accuracy on the held-out pairs, and its interval."""
        from curation.intervals import wilson
        from training.judging.held_out import held_out_set, margins

        model = OpenModel(str(self.run.final))
        try:
            after = self._greedy(model, "after")
            pairs = held_out_set(MixFolder(self.mix), self.work.material.encoder, pairs=True)
            if not pairs.pairs:
                return after, None, (None, None)
            self.work.told(0, None, f"measuring {len(pairs.pairs)} held-out pairs")
            gained = margins(pairs.reference(model()), self.first._reference(pairs))
        finally:
            model.close()
        hits = int((gained > 0).sum())
        return after, hits / len(gained), wilson(hits, len(gained))

    def _reference(self, pairs: Any) -> tuple[np.ndarray, np.ndarray]:
        """What the first model thinks of the held-out pairs."""
        import numpy as np

        def measured() -> list[list[float]]:
            return [side.tolist() for side in pairs.reference(OpenModel(self.model)())]

        chosen, rejected = kept(self.mix / "ratings" / "reference.json", measured)
        return np.array(chosen), np.array(rejected)


def _mean_tokens(written: Sequence[Sequence[Answer]]) -> float | None:
    return mean_of(float(answer.tokens) for row in written for answer in row)
