"""Answers that a round's model writes, kept as files: what is there is never written again."""

from __future__ import annotations

import gc
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from curation.progress import Progress
from training.methods.grpo import answer_of
from training.rewards import Answer

SHARD = 16
"""Prompts per file: so many are answered again at most when a call is killed."""
SEQUENCES = 64
"""Answers that are written at a time."""


def kept(path: Path, make: Callable[[], Any]) -> Any:
    """The JSON in a file; where there is none, what `make` gives, which is then written there in one step."""
    if path.is_file():
        return json.loads(path.read_text(encoding="utf-8"))
    made = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}")
    draft.write_text(json.dumps(made, ensure_ascii=False), encoding="utf-8")
    draft.replace(path)
    return made


@dataclass
class OpenModel:
    """A model that is opened when it is needed first, on the GPU where there is one."""

    path: str
    _model: Any = field(default=None, repr=False)

    def __call__(self) -> Any:
        """The model."""
        if self._model is None:
            import torch

            from training.methods.opening import bf16, open_model

            model = open_model(self.path, dtype="bfloat16" if bf16() else "float32")
            self._model = model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
        return self._model

    def close(self) -> None:
        """Give its memory back."""
        self._model = None
        gc.collect()


@dataclass(frozen=True)
class Writer:
    """Writes answers to prompts."""

    model: OpenModel
    tokenizer: Any
    folder: Path
    """Where the answers are kept: a name made from the model and all that decides what it writes."""
    most_tokens: int
    seed: str
    """What the dice are made from, together with a file's name."""

    def write(
        self, part: str, prompts: Sequence[Sequence[int]], *, answers: int, temperature: float | None, told: Progress
    ) -> list[list[Answer]]:
        """So many answers to each prompt, in order.

        Args:
            part: what to call the files.
            prompts: token ids that leave room for an answer.
            answers: per prompt.
            temperature: null for the likeliest answer.
            told: called with (prompts done, prompts, what is done).
        """
        found: list[list[Answer]] = []
        for start in range(0, len(prompts), SHARD):
            shard = prompts[start : start + SHARD]
            path = self.folder / f"{part}-{start // SHARD:04}.json"
            rows = kept(path, lambda shard=shard, path=path: self._written(shard, answers, temperature, path))  # type: ignore[misc]
            found += [[Answer(**answer) for answer in row] for row in rows]
            told(len(found), len(prompts), f"{part}: answers written")
        return found

    def _written(
        self, prompts: Sequence[Sequence[int]], answers: int, temperature: float | None, path: Path
    ) -> list[list[dict[str, Any]]]:
        from training.judging.generation import generated

        seed = int(hashlib.sha256(f"{self.seed}/{path.name}".encode()).hexdigest()[:8], 16)
        repeated = [ids for ids in prompts for _ in range(answers)]
        written = dict(
            generated(
                self.model(),
                self.tokenizer,
                repeated,
                most_tokens=self.most_tokens,
                batch=SEQUENCES,
                temperature=temperature,
                seed=seed,
            )
        )
        flat = [asdict(answer_of(written[i], self.most_tokens)) for i in range(len(repeated))]
        return [flat[i : i + answers] for i in range(0, len(flat), answers)]
